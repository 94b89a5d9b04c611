"""Parsed source code: the definitions of a module, and the names that the code of a definition uses.

Comments, docstrings, annotations of functions, descriptions of options and texts of errors do not count as code.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

_OPAQUE = {"eval", "exec", "__import__", "globals", "locals", "vars", "import_module"}
_MODEL_NAMES = {"model", "_model"}  # names of variables that hold a model in the harness

Definition = tuple[str, str, str]
"""The module, the top-level name, and the name of the member if it is a member of a class, else ""."""


@dataclass
class Mentions:
    """The names that the code of one definition uses."""

    names: set[str] = field(default_factory=set)
    chains: set[tuple[str, ...]] = field(default_factory=set)
    """Dotted names that start with a plain name, such as `trilemma.Model.score`."""
    attributes: set[str] = field(default_factory=set)
    of_self: set[str] = field(default_factory=set)
    of_model: set[str] = field(default_factory=set)
    imports: list[ast.Import | ast.ImportFrom] = field(default_factory=list)
    self_escapes: bool = False
    """Whether `self` is passed on as an object."""
    any_member: bool = False
    """Whether an attribute is accessed by a computed name."""
    opaque: bool = False
    """Whether something is imported by a computed name, or text is executed."""


class _Reader(ast.NodeVisitor):
    """Collects the names that a piece of code uses."""

    def __init__(self) -> None:
        self.found = Mentions()

    def visit_Name(self, node: ast.Name) -> None:
        self.found.names.add(node.id)
        self.found.opaque |= node.id in _OPAQUE
        self.found.self_escapes |= node.id == "self"

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.found.attributes.add(node.attr)
        self.found.opaque |= node.attr in _OPAQUE and isinstance(node.value, ast.Name) and node.value.id == "importlib"
        if _is_self(node.value):
            self.found.of_self.add(node.attr)
        elif bare_name(node.value) in _MODEL_NAMES:
            self.found.of_model.add(node.attr)
        chain = _chain(node)
        if chain:
            self.found.chains.add(chain)
        if not isinstance(node.value, ast.Name):  # a plain name is the start of the chain and is not used alone
            self.visit(node.value)

    def visit_Call(self, node: ast.Call) -> None:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        arguments = list(node.args)
        if name in ("getattr", "hasattr", "setattr") and len(arguments) > 1:
            key = arguments[1]
            if isinstance(key, ast.Constant) and isinstance(key.value, str):
                self.visit_Attribute(ast.Attribute(arguments[0], key.value, ast.Load()))
                arguments = arguments[2:]
            elif name == "getattr":
                self.found.any_member = True
        elif name == "super" or name == "type" or (isinstance(node.func, ast.Attribute) and _dunder(node.func.attr)):
            arguments = [a for a in arguments if not (isinstance(a, ast.Name) and a.id == "self")]
        self.visit(node.func)
        for part in arguments:
            self.visit(part)
        for keyword in node.keywords:
            self.visit(keyword.value)

    def visit_MatchClass(self, node: ast.MatchClass) -> None:
        self.found.attributes.update(node.kwd_attrs)
        self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        self.found.imports.append(node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        self.found.imports.append(node)


class _Bare(ast.NodeTransformer):
    """Removes docstrings, annotations of functions, descriptions of options, and texts of errors from the code."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> Any:
        node.returns = None
        arguments = node.args
        for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
            argument.annotation = None
        for extra in (arguments.vararg, arguments.kwarg):
            if extra is not None:
                extra.annotation = None
        return self._without_docstring(node)

    visit_AsyncFunctionDef = visit_FunctionDef  # type: ignore[assignment]  # noqa: N815

    def visit_ClassDef(self, node: ast.ClassDef) -> Any:
        return self._without_docstring(node)

    def visit_Raise(self, node: ast.Raise) -> Any:
        if isinstance(node.exc, ast.Call):
            node.exc.args = [argument for argument in node.exc.args if not _is_message(argument)]
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> Any:
        if bare_name(node.func) == "Field":
            node.keywords = [keyword for keyword in node.keywords if keyword.arg != "description"]
        return self.generic_visit(node)

    def _without_docstring(self, node: Any) -> Any:
        # A text that stands alone is documentation, also after an attribute.
        node.body = [s for s in node.body if not is_text(s)] or [ast.Pass()]
        return self.generic_visit(node)


class Module:
    """The definitions and imports at the top level of one module."""

    def __init__(self, name: str, file: Path) -> None:
        self.name, self.is_package = name, file.name == "__init__.py"
        self.definitions: dict[str, list[ast.stmt]] = {}
        self.imports: dict[str, tuple[str, str]] = {}
        self.stars: list[str] = []
        self.loose: list[ast.stmt] = []
        tree = _Bare().visit(ast.parse(file.read_text(encoding="utf-8")))
        self._read(tree.body)

    def _read(self, body: Iterable[ast.stmt]) -> None:
        for statement in body:
            if isinstance(statement, ast.Import | ast.ImportFrom):
                self.stars += [module for module, name, _ in self.imported(statement) if name == "*"]
                self.imports |= {alias: (m, n) for m, n, alias in self.imported(statement) if n != "*"}
            elif isinstance(statement, ast.If) and bare_name(statement.test) == "TYPE_CHECKING":
                self._read(statement.orelse)
            elif names := list(_defined(statement)):
                for name in names:
                    self.definitions.setdefault(name, []).append(statement)
                if any(bare_name(d) in self.definitions for d in getattr(statement, "decorator_list", ())):
                    self.loose.append(statement)  # a decorator of this module may enter it into a table
            elif not is_text(statement):
                self.loose.append(statement)
                inside = [s for s in ast.walk(statement) if isinstance(s, ast.stmt) and s is not statement]
                for part in inside:
                    if isinstance(part, ast.Import | ast.ImportFrom):
                        self._read([part])
                    for name in _defined(part):
                        self.definitions.setdefault(name, []).append(statement)

    def all_imports(self) -> set[tuple[str, str]]:
        """(module, name) of everything that is imported, also inside functions."""
        inside = [node for part in self.definitions.values() for s in part for node in mentions(s).imports]
        found = {(where, name) for node in inside for where, name, _ in self.imported(node)}
        return found | set(self.imports.values())

    def imported(self, node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, str, str]]:
        """Yield (module, name in the module or "" for the module itself, local name) for each imported name.

        `import a.b` gives the name `a` to the module a, and loads a.b, which stands here under its dotted name.
        """
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, "", alias.asname or alias.name
                if not alias.asname and "." in alias.name:
                    yield alias.name.split(".")[0], "", alias.name.split(".")[0]
            return
        base = node.module or ""
        if node.level:
            parts = self.name.split(".")
            parent = parts[: len(parts) - node.level + (1 if self.is_package else 0)]
            base = ".".join([*parent, *([base] if base else [])])
        for alias in node.names:
            yield base, alias.name, alias.asname or alias.name


def module(name: str) -> Module | None:
    """The source of a module; None if it has no Python source."""
    if name not in _modules:
        _modules[name] = _module(name)
    return _modules[name]


_modules: dict[str, Module | None] = {}


def _module(name: str) -> Module | None:
    try:
        loaded = sys.modules.get(name)
        if loaded is not None and getattr(loaded, "__file__", None):
            file = inspect.getsourcefile(loaded)
        else:
            spec = importlib.util.find_spec(name)
            file = spec.origin if spec is not None else None
    except (ImportError, ValueError, AttributeError, TypeError):
        return None
    return Module(name, Path(file)) if file and file.endswith(".py") else None


@cache
def mentions(statement: ast.stmt) -> Mentions:
    """The names that a statement uses."""
    reader = _Reader()
    reader.visit(statement)
    return reader.found


@cache
def dump(statement: ast.stmt) -> bytes:
    """The code of a statement, without its layout and comments."""
    return ast.dump(statement).encode()


def forget(name: str | None = None) -> None:
    """Drop the source of a module that is loaded again, because its file may have changed; by default of all."""
    if name is not None:
        _modules.pop(name, None)
        return
    _modules.clear()
    for cached in (mentions, dump):
        cached.cache_clear()


# Statements


def _is_message(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _defined(statement: ast.stmt) -> Iterator[str]:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield statement.name
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    if isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign):
        for target in filter(None, targets):
            yield from (
                part.id for part in ast.walk(target) if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)
            )


def is_text(statement: ast.stmt) -> bool:
    """Whether a statement is a constant that stands alone, such as documentation."""
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _dunder(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


def bare_name(node: ast.expr) -> str:
    """The last name of an expression: `model` for `self.model` and `model`; for a call, the last name of the callee."""
    if isinstance(node, ast.Call):
        return bare_name(node.func)
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _is_self(node: ast.expr) -> bool:
    """Whether an expression is `self`, `cls`, `super()` or `type(self)`."""
    if isinstance(node, ast.Call):
        return bare_name(node.func) in ("super", "type")
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


def _chain(node: ast.Attribute) -> tuple[str, ...]:
    parts = [node.attr]
    inner = node.value
    while isinstance(inner, ast.Attribute):
        parts.append(inner.attr)
        inner = inner.value
    return (inner.id, *reversed(parts)) if isinstance(inner, ast.Name) else ()
