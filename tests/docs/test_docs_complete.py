"""The documentation is complete and true: everything public is described, and what the pages show is valid."""

from __future__ import annotations

import inspect
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest

import trilemma
from trilemma.harness.cli import main
from trilemma.harness.contracts import hookspecs
from trilemma.harness.planning.resolve import resolve
from trilemma.harness.planning.suite import DatasetEntry, Limits, ModelEntry, Suite, builtin_suites, read_document
from trilemma.harness.plugins import Registry
from trilemma.harness.store.frame import COLUMNS

ROOT = Path(__file__).parents[2]
PAGES = {
    page.stem: page.read_text(encoding="utf-8")
    for page in sorted([*(ROOT / "docs").glob("*.md"), ROOT / "CONTRIBUTING.md"])
}
BASE = {
    "name": "docs",
    "budget": {"steps": 10},
    "datasets": [{"name": "ring8"}],
    "models": [{"name": "gaussian"}],
}
HOOKS = [name for name in vars(hookspecs) if name.startswith("trilemma_")]


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry(builtin_only=True)


@pytest.fixture(scope="module")
def generator(docs_module: Callable[[str], ModuleType]) -> ModuleType:
    """docs/_reference.py, which writes the reference pages."""
    return docs_module("_reference")


def example(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def blocks(language: str) -> Iterator[tuple[str, str]]:
    """(page and number, content) of every fenced block of a language, with included files in place."""
    for page, text in PAGES.items():
        for number, block in enumerate(re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S)):
            included = re.sub(r"^--8<--\n(.*)\n--8<--$", lambda match: example(match[1]), block, flags=re.M)
            yield f"{page}-{number}", included


def docstring(thing: Any) -> str:
    """A thing's own docstring, none inherited."""
    own = thing.__dict__.get("__doc__") if inspect.isclass(thing) else thing.__doc__
    return (own or "").strip()


# Hooks


@pytest.mark.parametrize("name", HOOKS)
def test_a_hook_is_documented_with_its_exact_signature(name: str) -> None:
    hook = getattr(hookspecs, name)
    source = inspect.getsource(hook).replace("  # type: ignore[empty-body]", "")
    (definition,) = re.findall(r"^def .*?:$", source, re.MULTILINE | re.DOTALL)
    purpose = " ".join(docstring(hook).split("\n\n")[0].split())
    text = PAGES["hooks"]
    assert "".join(f"@trilemma.hookimpl {definition}".split()) in "".join(text.split())
    assert purpose in " ".join(text.split())
    assert f"### {name}\n" in text


# Descriptions


@pytest.mark.parametrize("kind", ["models", "datasets", "metrics", "report_sections"])
def test_everything_registered_has_a_docstring(registry: Registry, kind: str) -> None:
    silent = [name for name, cls in registry.classes(kind).items() if not docstring(cls)]
    assert not silent


@pytest.mark.parametrize("kind", ["models", "datasets", "metrics"])
def test_every_option_has_a_description(registry: Registry, kind: str) -> None:
    silent = [
        f"{name}: {record.__qualname__}.{option}"
        for name, cls in registry.classes(kind).items()
        for record in (cls.Config, *((cls.Likelihood, *cls.samplers) if kind == "models" else ()))
        for option, field in record.model_fields.items()
        if not field.description
    ]
    assert not silent


def test_every_sampler_has_a_docstring(registry: Registry) -> None:
    samplers = {sampler for cls in registry.classes("models").values() for sampler in cls.samplers}
    assert not [sampler.__qualname__ for sampler in samplers if not docstring(sampler)]


def all_commands() -> dict[str, click.Command]:
    """Every command by its full name, those in groups too."""
    found: dict[str, click.Command] = {}

    def walk(prefix: str, group: click.Group) -> None:
        context = click.Context(group)
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            assert command is not None
            found[f"{prefix} {name}"] = command
            if isinstance(command, click.Group):
                walk(f"{prefix} {name}", command)

    walk("trilemma", main)
    return found


@pytest.mark.parametrize("name", sorted(all_commands()))
def test_every_command_and_its_options_have_help(name: str) -> None:
    command = all_commands()[name]
    assert command.help
    assert not [p.name for p in command.params if isinstance(p, click.Option) and not p.help]


def test_every_built_in_suite_has_a_description_and_validates(registry: Registry) -> None:
    for name, description in builtin_suites().items():
        assert description, name
        resolve(read_document(name), registry)


@pytest.mark.parametrize("name", sorted(trilemma._PUBLIC))
def test_every_public_name_has_a_docstring(name: str) -> None:
    value = getattr(trilemma, name)
    assert docstring(value)
    if inspect.isclass(value):
        public = [m for key, m in vars(value).items() if not key.startswith("_") and inspect.isfunction(m)]
        overriding = [m for m in public if any(hasattr(base, m.__name__) for base in value.__mro__[1:])]
        assert not [m.__qualname__ for m in public if m not in overriding and not docstring(m)]


def test_every_column_of_the_results_frame_is_explained() -> None:
    explained = re.findall(r"^\| (`[^|]*) \|", PAGES["python"], re.M)
    assert sorted(re.findall(r"`(\w+)`", " ".join(explained))) == sorted(COLUMNS)


@pytest.mark.parametrize("record", [Suite, Limits, DatasetEntry, ModelEntry])
def test_every_key_of_a_suite_is_explained(record: type[trilemma.Config]) -> None:
    assert not [key for key in record.model_fields if f"`{key}`" not in PAGES["suites"]]


def test_the_reference_names_everything(registry: Registry, generator: ModuleType) -> None:
    pages = generator.pages()
    for kind in ("models", "metrics"):
        headings = re.findall(r"^## (\S+)$", pages[kind], re.M)
        assert headings == list(registry.classes(kind))
    for name in registry.classes("datasets"):
        assert f"[{name}](datasets/{name}.md)" in pages["datasets"]
        assert pages[f"datasets/{name}"].startswith(f"# {name}\n")
    assert sorted(re.findall(r"^## (trilemma .*)$", pages["cli"], re.M)) == sorted(all_commands())
    named = set(re.findall(r"^### trilemma\.(\S+)$", pages["api"], re.M))
    assert named == {name.replace("__", r"\_\_") for name in trilemma.__all__}
    assert not [name for name, text in pages.items() if "0x" in text.lower() or "<function" in text]


# What the pages show


@pytest.mark.parametrize(("place", "text"), list(blocks("python")))
def test_python_in_the_pages_compiles(place: str, text: str) -> None:
    compile(text, place, "exec")


def test_the_pages_show_the_examples_as_they_are() -> None:
    shown = [text.strip() for language in ("python", "toml") for _, text in blocks(language)]
    package = "examples/trilemma-gauss"
    for path in ("pyproject.toml", "src/trilemma_gauss/__init__.py", "tests/test_gauss.py"):
        assert example(f"{package}/{path}").strip() in shown
    assert example("examples/my_model.py").strip() in shown


@pytest.mark.parametrize(("place", "text"), list(blocks("toml")))
def test_suites_in_the_pages_are_valid(registry: Registry, tmp_path: Path, place: str, text: str) -> None:
    values = tomllib.loads(text)
    if "project" not in values and "defaults" not in values:  # the files of packages, and the project file
        resolve(read_document({**BASE, **values}), registry)
