"""The members of a class that a computation reaches, and what Python says of the class."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sysconfig
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from .source import bare_name, is_text, mentions

MODEL = ("trilemma.harness.contracts.model", "Model")


class ReachedClass:
    """A reached class, with the members that are not reached yet."""

    def __init__(self, node: ast.ClassDef, is_model: bool, implicit: frozenset[str] | None) -> None:
        self.is_model, self.whole = is_model, False
        self._implicit = implicit
        self._noted: set[str] = set()
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

    def note(self, statements: Iterable[ast.stmt]) -> None:
        """Note the members that the body of the class uses by their plain names, such as defaults of arguments."""
        for statement in statements:
            if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
                arguments = statement.args
                outside = [*statement.decorator_list, *arguments.defaults, *filter(None, arguments.kw_defaults)]
                for expression in outside:
                    self._noted |= {node.id for node in ast.walk(expression) if isinstance(node, ast.Name)}
            else:
                self._noted |= mentions(statement).names

    def hides_self(self, statements: Iterable[ast.stmt]) -> bool:
        """Whether a method or a lambda may name the object other than `self`."""
        for statement in statements:
            if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
                first = [argument.arg for argument in (*statement.args.posonlyargs, *statement.args.args)][:1]
                static = any(bare_name(decorator) == "staticmethod" for decorator in statement.decorator_list)
                if not static and first and first[0] not in ("self", "cls"):
                    return True
            elif any(isinstance(node, ast.Lambda) and node.args.args for node in ast.walk(statement)):
                return True
        return False

    def is_wanted(self, member: str) -> bool:
        """Whether the body of the class, Python, a base class of another package or a decorator may use the member."""
        if member in self._noted:
            return True
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


def is_model_class(made: object) -> bool:
    """Whether an object is a class of models."""
    return isinstance(made, type) and any((base.__module__, base.__qualname__) == MODEL for base in made.__mro__)


@cache
def traits(where: str, name: str, scope: frozenset[str]) -> tuple[bool, frozenset[str] | None]:
    """Whether a class is a model, and the member names of its bases in other packages (None if not known).

    The module is imported if it is not yet, so that the answer does not depend on what else is loaded.
    """
    try:
        made = getattr(importlib.import_module(where), name, None)
    except (Exception, SystemExit):  # such as the module of an extra that is not installed
        made = None
    if not isinstance(made, type):
        return False, None
    outside = [base for base in made.__mro__ if base.__module__.split(".")[0] not in scope and base is not object]
    return is_model_class(made), frozenset(member for base in outside for member in vars(base))


@cache
def is_local(package: str) -> bool:
    """Whether a top-level package is code that was not installed, such as a module beside a plugin file."""
    try:
        found = importlib.util.find_spec(package)
    except (ImportError, ValueError, AttributeError):
        return False
    places = [found.origin, *(found.submodule_search_locations or ())] if found is not None else []
    files = [Path(place) for place in places if place and place not in ("built-in", "frozen")]
    if not files or {"site-packages", "dist-packages"} & set(files[0].parts):
        return False
    standard = (sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"))
    return not any(files[0].is_relative_to(folder) for folder in standard)
