"""The provenance of registered classes, and the hash of the source code that a computation reaches."""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from .members import ReachedClass, is_local, is_model_class, traits
from .source import Definition, Mentions, Module, dump, mentions, module

OWN = "trilemma.harness"


@dataclass(frozen=True)
class Provenance:
    """The plugin, distribution and version that a registered class comes from."""

    plugin: str
    distribution: str
    version: str


class Reach:
    """The definitions that a computation reaches from its roots, in the top-level packages of `scope`.

    In scope are also the packages of plugins that a root inherits from, and all code that was not installed, such as a
    module beside a plugin file.

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
        self._classes: dict[Definition, ReachedClass] = {}
        self._attributes: set[str] = set()
        self._of_model: set[str] = set()
        self._of_root: set[tuple[str, str]] = set()
        self._followed: set[tuple[str, str]] = set()
        self._escaped = self._any = False

    def add(self, thing: type[Any], *, whole: bool = False) -> Reach:
        """Reach a class; with `whole`, also all its members and the members of its bases in scope."""
        for base in thing.__mro__:
            if any(parent.__module__.startswith(f"{OWN}.") for parent in base.__mro__):
                self._scope.add(base.__module__.split(".")[0])
        if is_model_class(thing):
            self._of_root |= {(base.__module__, base.__qualname__) for base in thing.__mro__}
        home = module(thing.__module__) if self._in_scope(thing.__module__) else None
        if home is not None and thing.__qualname__.split(".")[0] not in home.definitions:
            whole = True  # made by a call of `type`, or renamed: its source cannot be told
            self._imports_of(home)
        for base in thing.__mro__ if whole else (thing,):
            if self._in_scope(base.__module__):
                self._name(base.__module__, base.__qualname__.split(".")[0])
                if whole and (known := self._classes.get((base.__module__, base.__qualname__, ""))):
                    known.whole = True
        return self

    def add_code(self, where: str) -> Reach:
        """Cover the code of `module:function` or `module:Class.method`, without what it reaches."""
        home, _, name = where.partition(":")
        source = module(home)
        assert source is not None
        outer, _, inner = name.partition(".")
        code = source.definitions[outer]
        if inner:
            code = [s for part in code for s in getattr(part, "body", ()) if getattr(s, "name", "") == inner]
        assert code, f"{where} does not exist"
        self._found[home, outer, f"code of {inner}"] = code
        return self

    def add_attributes(self, names: Iterable[str]) -> Reach:
        """Reach the members of models with these names."""
        self._of_model |= set(names)
        return self

    @property
    def of_model(self) -> frozenset[str]:
        """The names of all members of models that reached code uses."""
        while self._members():
            pass
        return frozenset(self._of_model)

    def add_name(self, where: str, *, whole: bool = False) -> Reach:
        """Reach `module:name`; with `whole`, also all members if it is a class, and those of its bases in scope."""
        home, _, name = where.partition(":")
        self._name(home, name)
        for base in getattr(getattr(import_module(home), name), "__mro__", ()) if whole else ():
            if known := self._classes.get((base.__module__, base.__qualname__, "")):
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
        package = name.split(".")[0]
        return package in self._scope or is_local(package)

    def _name(self, where: str, name: str) -> None:
        """Reach a top-level name of a module, wherever it is defined."""
        source = module(where) if self._in_scope(where) else None
        key = (where, name, "")
        if source is None or key in self._found:
            return
        self._import(where)
        if name in source.definitions:
            statements = source.definitions[name]
            classes = [s for s in statements if isinstance(s, ast.ClassDef)]
            if classes:
                self._class(key, source, classes[-1])
            self._take(key, source, [s for s in statements if not isinstance(s, ast.ClassDef)], None)
        elif name in source.imports:
            if (where, name) not in self._followed:  # two modules may import a name from each other
                self._followed.add((where, name))
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

    def _import(self, where: str) -> None:
        """Reach what a module, and the packages that it is in, do when they are imported."""
        parts = where.split(".")
        for count in range(1, len(parts) + 1):
            package = ".".join(parts[:count])
            source = module(package)
            if source is not None and (package, "", "") not in self._found:
                self._take((package, "", ""), source, source.loose, None)

    def _imported(self, where: str, name: str) -> None:
        if not self._in_scope(where):
            return  # looking for its source would import packages
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
            if is_model_class(getattr(sys.modules.get(source.name), root, None)):
                self._of_model.add(rest[0])
            return
        path = [*([name] if name else []), *rest]
        while path:
            if self._is_module(f"{where}.{path[0]}") and (not self._in_scope(where) or path[0] not in _names(where)):
                where, path = f"{where}.{path[0]}", path[1:]
                continue
            self._name(where, path[0])
            if len(path) > 1 and is_model_class(self._loaded(where, path[0])):
                self._of_model.add(path[1])
            return
        self._everything(where)  # a module that is used as an object

    def _is_module(self, where: str) -> bool:
        """Whether there is such a module. Outside of the scope only loaded ones count, so that nothing is imported."""
        return module(where) is not None if self._in_scope(where) else where in sys.modules

    def _loaded(self, where: str, name: str) -> object:
        """An attribute of a loaded module. In the scope it may be made on access, as those of `trilemma` are."""
        found = sys.modules.get(where)
        return getattr(found, name, None) if self._in_scope(where) else vars(found).get(name) if found else None

    # Taking in code

    def _take(self, key: Definition, source: Module, statements: list[ast.stmt], owner: ReachedClass | None) -> None:
        self._found[key] = [*self._found.get(key, []), *statements]
        if owner is not None:
            owner.note(statements)
            self._escaped |= owner.is_model and not source.name.startswith(OWN) and owner.hides_self(statements)
        for statement in statements:
            self._follow(source, mentions(statement), owner)

    def _follow(self, source: Module, found: Mentions, owner: ReachedClass | None) -> None:
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
            if owner is None:
                self._of_model |= found.of_self  # a function that is set as a method, or wraps one
            self._escaped |= found.self_escapes and owner is not None and owner.is_model
            self._any |= found.any_member
            if found.opaque:
                self._imports_of(source)
        for name in found.names:
            if name in local:
                self._imported(*local[name])
            self._name(source.name, name)  # also if a local import has the same name: it may be used before that
        for chain in found.chains:
            if chain[0] not in ("self", "cls"):
                self._chain(source, chain, local)

    def _class(self, key: Definition, source: Module, node: ast.ClassDef) -> None:
        where, name, _ = key
        is_model, implicit = traits(where, name, frozenset(self._scope))
        known = ReachedClass(node, is_model or (where, name) in self._of_root, implicit)
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
                if known.whole or self._any or member in wanted or known.is_wanted(member):
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


def _names(where: str) -> set[str]:
    source = module(where)
    return set() if source is None else {*source.definitions, *source.imports}
