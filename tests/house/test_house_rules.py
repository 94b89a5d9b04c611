"""The rules of the house: small modules, walls between rooms, no circles, shallow inheritance."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import trilemma

ROOT = Path(__file__).parents[2]
ROOMS = ("harness", "plugins", "datasets", "reports")
LONGEST, DEEPEST, FULLEST = 300, 4, 25

HEAVY = {
    *("torch", "numpy", "pandas", "scipy", "sklearn", "matplotlib", "ot", "pydantic", "rich", "safetensors", "psutil"),
    *("jinja2", "h5py", "pyarrow", "mlxtend", "mnist1d", "skimage", "torchmetrics", "torch_fidelity", "PIL"),
    *("dask", "distributed", "submitit", "optuna", "IPython", "mlflow", "wandb"),
}
"""Libraries that take long to load, or that an extra brings: they may be imported where they are used."""

pytestmark = pytest.mark.skipif(not (ROOT / "pyproject.toml").exists(), reason="needs the source tree")


def files(*folders: str) -> list[Path]:
    return sorted(
        file for folder in folders for file in (ROOT / folder).rglob("*.py") if "__pycache__" not in file.parts
    )


def name_of(file: Path) -> str:
    parts = list(file.relative_to(ROOT).with_suffix("").parts)
    return ".".join(["trilemma", *(parts[:-1] if parts[-1] == "__init__" else parts)])


MODULES = {name_of(file): file for file in files(*ROOMS)}


@cache
def imports(name: str) -> tuple[tuple[str, ast.stmt, bool], ...]:
    """(what is imported, where, whether in a function) of one module; imports for annotations alone are left out."""
    file = MODULES[name]
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]

    def walk(node: ast.AST, deferred: bool) -> Iterator[tuple[str, ast.stmt, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
                continue
            if isinstance(child, ast.Import):
                yield from ((alias.name, child, deferred) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                base = child.module or ""
                if child.level:
                    up = package.split(".")[: len(package.split(".")) - child.level + 1]
                    base = ".".join([*up, *([base] if base else [])])
                for alias in child.names:
                    inner = f"{base}.{alias.name}"
                    yield (inner if inner in MODULES else base), child, deferred
            inside = deferred or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from walk(child, inside)

    return tuple(walk(ast.parse(file.read_text(encoding="utf-8")), False))


@cache
def loads(name: str) -> frozenset[str]:
    """All that importing a module loads: modules of the rooms, and the packages of others."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        here = waiting.pop()
        if here in found:
            continue
        found.add(here)
        if here in MODULES:
            waiting += [target for target, _, deferred in imports(here) if not deferred]
            if re.search(r"^class .*\btrilemma\.", MODULES[here].read_text(encoding="utf-8"), re.MULTILINE):
                found.add("torch")  # a public name is loaded when it is first used, and most of them need torch
    return frozenset(target if target in MODULES else target.split(".")[0] for target in found)


def test_no_module_is_longer_than_three_hundred_lines() -> None:
    everything = files(*ROOMS, "src", "tests", "docs", "examples")
    long = {str(f.relative_to(ROOT)): n for f in everything if (n := len(f.read_text().splitlines())) > LONGEST}
    assert not long


def test_no_folder_is_a_pile() -> None:
    folders = {file.parent for file in files(*ROOMS)} - {ROOT / "datasets"}  # a dataset is a file, and there are many
    full = {str(f.relative_to(ROOT)): n for f in folders if (n := len(list(f.glob("*.py")))) > FULLEST}
    assert not full


@pytest.mark.parametrize("room", ROOMS)
def test_imports_inside_a_room_are_relative(room: str) -> None:
    inside = f"trilemma.{room}"
    absolute = [
        f"{name}: {ast.unparse(node)}"
        for name in MODULES
        if name.startswith(inside)
        for target, node, _ in imports(name)
        if target.startswith(inside) and not (isinstance(node, ast.ImportFrom) and node.level)
    ]
    # Executed by name in a process of its own, the zygote is outside of any package.
    assert [line for line in absolute if "execution.zygote" not in line] == []


@pytest.mark.parametrize("name", sorted(MODULES))
def test_an_import_in_a_function_loads_something_heavy_or_optional(name: str) -> None:
    light = []
    for target, node, deferred in imports(name):
        heavy = target.split(".")[0] in HEAVY or (target in MODULES and loads(target) & HEAVY)
        if deferred and not heavy:
            light.append(f"line {node.lineno}: {ast.unparse(node)}")
    assert not light


def test_no_circle_of_imports_deferred_ones_included() -> None:
    edges = {
        name: {target for target, _, _ in imports(name) if target in MODULES and target != name} for name in MODULES
    }
    circles = []
    done: set[str] = set()

    def visit(name: str, path: list[str]) -> None:
        if name in path:
            circles.append(" -> ".join([*path[path.index(name) :], name]))
            return
        if name in done:
            return
        for target in sorted(edges[name]):
            visit(target, [*path, name])
        done.add(name)

    for name in sorted(edges):
        visit(name, [])
    assert not circles


def classes() -> dict[type, int]:
    """Every class of the rooms, nested ones too, with the depth of its inheritance from classes of trilemma."""
    found: dict[type, int] = {}

    def depth(cls: type) -> int:
        return 1 + max(map(depth, cls.__bases__), default=0) if cls.__module__.startswith("trilemma") else 0

    def visit(cls: type) -> None:
        if cls not in found and cls.__module__.startswith("trilemma."):
            found[cls] = depth(cls)
            for member in vars(cls).values():
                if inspect.isclass(member):
                    visit(member)

    for room in ROOMS:
        package = importlib.import_module(f"trilemma.{room}")
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
            for member in list(vars(sys.modules[module.name]).values()):
                if inspect.isclass(member):
                    visit(member)
    return found


def test_inheritance_is_at_most_four_deep() -> None:
    deep = {f"{cls.__module__}.{cls.__qualname__}": n for cls, n in classes().items() if n > DEEPEST}
    assert not deep


def test_the_public_names_are_those_that_type_checkers_see() -> None:
    text = Path(trilemma.__file__).read_text()
    seen = {
        alias.asname: (node.module or "").removeprefix("trilemma.harness.")
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("trilemma.harness")
        for alias in node.names
    }
    assert seen == trilemma._PUBLIC
