"""The provenance of registered classes, and the hash of the source code that a computation reaches."""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from .source import Definition, Mentions, Module, bare_name, dump, is_text, mentions, module

OWN = "trilemma.harness"
MODEL = (f"{OWN}.contracts.model", "Model")


@dataclass(frozen=True)
class Provenance:
    """The plugin, distribution and version that a registered class comes from."""

    plugin: str
    distribution: str
    version: str


class Reach:
    """The definitions that a computation reaches from its roots, in the top-level packages of `scope`.

    Every name that appears in reached code is followed. A member of a class is reached if the class is reached and
    reached code uses the name of the member as an attribute. For members of a *model* class the rule is stricter: they
    are reached only by attributes of `self`, `super()` or a model class within model classes, and by attributes of a
    variable named `model`. So `self.flow.sample(n)` in a loss reaches the method of the flow, but not `sample` of the
    model and the samplers that it uses.

    If the source does not show what is reached, the hash covers too much rather than too little. A model that passes
    itself to a function reaches all members that are used as attributes anywhere. A computed `getattr` reaches every
    member. Code that imports by a computed name, or executes text, reaches all modules that it imports. The code of
    the harness is exempt from these rules, because it is known.
    """

    def __init__(self, scope: Iterable[str]) -> None:
        self._scope = {"trilemma", *scope}
        self._found: dict[Definition, list[ast.stmt]] = {}
        self._classes: dict[Definition, _Class] = {}
        self._attributes: set[str] = set()
        self._of_model: set[str] = set()
        self._escaped = self._any = False

    def add(self, thing: type[Any], *, whole: bool = False) -> Reach:
        """Reach a class; with `whole`, also all its members and the members of its bases in scope."""
        for base in thing.__mro__ if whole else (thing,):
            if self._in_scope(base.__module__):
                self._name(base.__module__, base.__qualname__.split(".")[0])
                if whole and (known := self._classes.get((base.__module__, base.__qualname__, ""))):
                    known.whole = True
        return self

    def add_name(self, where: str, *, whole: bool = False) -> Reach:
        """Reach `module:name`; with `whole`, also all members if it is a class."""
        home, _, name = where.partition(":")
        self._name(home, name)
        if whole and (known := self._classes.get((home, name, ""))):
            known.whole = True
        return self

    def hash(self) -> str:
        """sha256 (first 16 hex digits) of the code of all reached definitions."""
        while self._members():
            pass
        digest = hashlib.sha256()
        for key in sorted(self._found):
            digest.update("\0".join(key).encode() + b"\1" + b"\n".join(map(dump, self._found[key])) + b"\2")
        return digest.hexdigest()[:16]

    @property
    def definitions(self) -> set[str]:
        """All reached definitions, as `module:name` or `module:Class.member`."""
        while self._members():
            pass
        return {f"{where}:{name}{'.' if member else ''}{member}" for where, name, member in self._found if name}

    # Following names

    def _in_scope(self, name: str) -> bool:
        return name.split(".")[0] in self._scope

    def _name(self, where: str, name: str) -> None:
        """Reach a top-level name of a module, wherever it is defined."""
        source = module(where) if self._in_scope(where) else None
        key = (where, name, "")
        if source is None or key in self._found:
            return
        if name in source.definitions:
            if (where, "", "") not in self._found:  # what the module does when it is imported
                self._take((where, "", ""), source, source.loose, None)
            statements = source.definitions[name]
            classes = [s for s in statements if isinstance(s, ast.ClassDef)]
            if classes:
                self._class(key, source, classes[-1])
            self._take(key, source, [s for s in statements if not isinstance(s, ast.ClassDef)], None)
        elif name in source.imports:
            self._imported(*source.imports[name])
        elif module(f"{where}.{name}") is not None:
            self._everything(f"{where}.{name}")
        else:
            for star in source.stars:
                self._name(star, name)
            # A name that the module creates on access, by a `__getattr__`.
            made = getattr(sys.modules.get(where), name, None)
            home, qualified = getattr(made, "__module__", None), getattr(made, "__qualname__", None)
            if home and qualified and home != where:
                self._name(home, qualified.split(".")[0])

    def _imported(self, where: str, name: str) -> None:
        if not name or (module(f"{where}.{name}") is not None and (module(where) is None or name not in _names(where))):
            self._everything(f"{where}.{name}" if name else where)
        else:
            self._name(where, name)

    def _everything(self, where: str) -> None:
        """Reach a whole module, because the code uses the module as an object."""
        source = module(where) if self._in_scope(where) and where not in ("trilemma", OWN) else None
        for name in source.definitions if source is not None else ():
            self._name(where, name)

    def _chain(self, source: Module, chain: tuple[str, ...], local: dict[str, tuple[str, str]]) -> None:
        """Reach the definition that a dotted name refers to."""
        root, *rest = chain
        where, name = local.get(root) or source.imports.get(root) or ("", "")
        if not where:
            self._name(source.name, root)
            if _is_model_class(source.name, root):
                self._of_model.add(rest[0])
            return
        path = [*([name] if name else []), *rest]
        while path:
            if module(f"{where}.{path[0]}") is not None and path[0] not in _names(where):
                where, path = f"{where}.{path[0]}", path[1:]
                continue
            self._name(where, path[0])
            if len(path) > 1 and _is_model_class(where, path[0]):
                self._of_model.add(path[1])
            return
        self._everything(where)  # a module that is used as an object

    # Taking in code

    def _take(self, key: Definition, source: Module, statements: list[ast.stmt], owner: _Class | None) -> None:
        self._found[key] = [*self._found.get(key, []), *statements]
        for statement in statements:
            self._follow(source, mentions(statement), owner)

    def _follow(self, source: Module, found: Mentions, owner: _Class | None) -> None:
        local: dict[str, tuple[str, str]] = {}
        for node in found.imports:
            for where, name, alias in source.imported(node):
                local[alias] = (where, name)
                if name and self._in_scope(where):
                    self._imported(where, name)
        self._attributes |= found.attributes
        self._of_model |= found.of_model
        if owner is not None and owner.is_model:
            self._of_model |= found.of_self
        if not source.name.startswith(OWN):
            self._escaped |= found.self_escapes and owner is not None and owner.is_model
            self._any |= found.any_member
            if found.opaque:
                self._imports_of(source)
        for name in found.names:
            if name in local:
                self._imported(*local[name])
            else:
                self._name(source.name, name)
        for chain in found.chains:
            if chain[0] not in ("self", "cls"):
                self._chain(source, chain, local)

    def _class(self, key: Definition, source: Module, node: ast.ClassDef) -> None:
        where, name, _ = key
        known = _Class(node, *_traits(where, name, frozenset(self._scope)))
        self._classes[key] = known
        self._found[key] = []
        header = [*node.decorator_list, *node.bases, *(keyword.value for keyword in node.keywords)]
        self._take(key, source, [ast.Expr(part) for part in header], None)
        self._take(key, source, known.shared, known)

    def _members(self) -> bool:
        """Reach the members whose names are now in use. Returns whether there were any."""
        more = False
        for (where, name, _), known in list(self._classes.items()):
            wanted = self._of_model if known.is_model else self._attributes
            if known.is_model and self._escaped:
                wanted = wanted | self._attributes
            for member in list(known.members):
                if known.whole or self._any or member in wanted or known.is_implicit(member):
                    source = module(where)
                    assert source is not None
                    self._take((where, name, member), source, known.members.pop(member), known)
                    more = True
        return more

    def _imports_of(self, source: Module) -> None:
        """Reach all modules that a module imports, directly or indirectly."""
        waiting, seen = [source.name], set()
        while waiting:
            where = waiting.pop()
            found = module(where) if self._in_scope(where) and not where.startswith(OWN) else None
            if found is None or where in seen:
                continue
            seen.add(where)
            self._any = True
            self._everything(where)
            for home, name in found.imports.values():
                waiting += [home, f"{home}.{name}"]


class _Class:
    """A reached class, with the members that are not reached yet."""

    def __init__(self, node: ast.ClassDef, is_model: bool, implicit: frozenset[str] | None) -> None:
        self.is_model, self.whole = is_model, False
        self._implicit = implicit
        self.members: dict[str, list[ast.stmt]] = {}
        self.shared: list[ast.stmt] = []
        for statement in node.body:
            if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
                self.members.setdefault(statement.name, []).append(statement)
            elif is_model and (names := list(_assigned(statement))):
                for name in names:
                    self.members.setdefault(name, []).append(statement)
            elif not is_text(statement):
                self.shared.append(statement)

    def is_implicit(self, member: str) -> bool:
        """Whether Python, a base class of another package or a decorator may call the member."""
        if self._implicit is None or member in self._implicit or (member.startswith("__") and member.endswith("__")):
            return True
        functions = [s for s in self.members[member] if isinstance(s, ast.FunctionDef | ast.AsyncFunctionDef)]
        return any(bare_name(d) not in _PLAIN_DECORATORS for s in functions for d in s.decorator_list)


_PLAIN_DECORATORS = {
    *("property", "cached_property", "staticmethod", "classmethod", "abstractmethod", "override", "setter", "cache"),
    *("no_grad", "enable_grad", "contextmanager", "once_differentiable"),
}


def _assigned(statement: ast.stmt) -> Iterator[str]:
    if isinstance(statement, ast.ClassDef):
        yield statement.name
    elif isinstance(statement, ast.Assign):
        yield from (target.id for target in statement.targets if isinstance(target, ast.Name))
    elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
        yield statement.target.id


def _names(where: str) -> set[str]:
    source = module(where)
    return set() if source is None else {*source.definitions, *source.imports}


def _is_model_class(where: str, name: str) -> bool:
    made = getattr(sys.modules.get(where), name, None)
    return isinstance(made, type) and any((base.__module__, base.__qualname__) == MODEL for base in made.__mro__)


@cache
def _traits(where: str, name: str, scope: frozenset[str]) -> tuple[bool, frozenset[str] | None]:
    """Whether a class is a model, and the member names of its bases in other packages (None if not known)."""
    made = getattr(sys.modules.get(where), name, None)
    if not isinstance(made, type):
        return False, None
    outside = [base for base in made.__mro__ if base.__module__.split(".")[0] not in scope and base is not object]
    return _is_model_class(where, name), frozenset(member for base in outside for member in vars(base))
