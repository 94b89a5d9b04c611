"""Plugins: discovery, provenance, collisions, and broken ones that hide nothing."""

from __future__ import annotations

import re
import sys
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import trilemma
from trilemma.harness.plugins import Registry

GAUSS = """
import torch, trilemma

class Gauss(trilemma.Model):
    "A Gaussian."
    name = "{name}"
    def fit(self, train, ctx): ...
    def sample(self, n, ctx): return torch.zeros(n, *ctx.info.shape)

@trilemma.hookimpl
def trilemma_models():
    return [Gauss]
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Pretend that distributions with one plugin module each are installed, beside trilemma itself."""
    real = metadata.entry_points
    added: list[Any] = []

    def pretend(module: str, source: str) -> None:
        (tmp_path / f"{module}.py").write_text(source)
        entry = metadata.EntryPoint(module, module, "trilemma")
        vars(entry).update(dist=SimpleNamespace(name=f"dist-{module}", version="1.2"))
        added.append(entry)

    monkeypatch.syspath_prepend(tmp_path)

    def found(**which: Any) -> Any:
        return [*real(**which), *added] if which.get("group") == "trilemma" else real(**which)

    monkeypatch.setattr(metadata, "entry_points", found)
    before = set(sys.modules)
    yield pretend
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(sys.modules[name].__file__):
            del sys.modules[name]


def errors(registry: Registry) -> dict[str, str]:
    registry.load_everything()
    return {record.name: record.problem for record in registry.records if record.problem}


def test_a_plugin_is_found_with_its_provenance(install: Any) -> None:
    install("good_plugin", GAUSS.format(name="their-gauss"))
    registry = Registry()
    assert "their-gauss" in registry.classes("models")
    origin = registry.provenance("models", "their-gauss")
    assert (origin.distribution, origin.version) == ("dist-good_plugin", "1.2")
    assert errors(registry) == {}


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("raise RuntimeError('boom')", "RuntimeError: boom"),
        ("import no_such_module", "ModuleNotFoundError"),
        ("def broken(:", "SyntaxError"),
        (
            GAUSS.format(name="x").replace("trilemma_models", "trilemma_model"),
            "no hook 'trilemma_model' .*trilemma_models",
        ),
        (GAUSS.format(name="x").replace("@trilemma.hookimpl\n", ""), "has no decorator"),
        (GAUSS.format(name="x").replace('name = "x"', ""), "has no `name`"),
        (GAUSS.format(name="x").replace("def sample", "def samples"), "does not define sample"),
        (GAUSS.format(name="x").replace("[Gauss]", "[1]"), "not a subclass"),
        (GAUSS.format(name="realnvp"), "model 'realnvp' of dist-bad_plugin .* already registered by trilemma"),
    ],
)
def test_a_broken_plugin_is_listed_with_its_error_and_hides_no_other(source: str, message: str, install: Any) -> None:
    install("bad_plugin", source)
    install("good_plugin", GAUSS.format(name="their-gauss"))
    registry = Registry()
    found = errors(registry)
    assert list(found) == ["bad_plugin"]

    assert re.search(message, found["bad_plugin"])
    assert {"their-gauss", "realnvp"} <= set(registry.classes("models"))
    assert registry.provenance("models", "realnvp").distribution == "trilemma"


def test_an_unknown_name_has_a_suggestion_and_a_word_on_broken_plugins(install: Any) -> None:
    install("bad_plugin", "raise RuntimeError('boom')")
    with pytest.raises(trilemma.PluginError, match=r"did you mean 'realnvp'.*1 plugin\(s\) failed to load"):
        Registry().get("models", "realnpv")


def test_a_plugin_file_is_loaded_by_path(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(GAUSS.format(name="mine"))
    assert "mine" in Registry([file]).classes("models")
    with pytest.raises(trilemma.PluginError, match="there is no file"):
        Registry([tmp_path / "other.py"])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("import torch", "import torhc", r"mine.py:2: ModuleNotFoundError: No module named 'torhc'"),
        ("def fit(", "def fit(:", r"mine.py:7: SyntaxError"),
        ("def sample", "def samples", r"mine.py:10: trilemma_models: class Gauss \(.*mine.py:4\): it does not define"),
        ("[Gauss]", "Gauss", "mine.py:10: trilemma_models: it returned <class .*, not a list"),
        ("return [Gauss]", "[Gauss]", "mine.py:10: .* returned None, not a list .*; write a `return`"),
        ("return [Gauss]", "import nothing_such", r"mine.py:12: trilemma_models: ModuleNotFoundError"),
        ('"mine"', '"realnvp"', r"mine.py:10: model 'realnvp' of .* already registered by trilemma .*; rename one"),
        ("[Gauss]", '{"mine": "nothing_such:Gauss"}', r"mine.py: model 'mine' \(nothing_such:Gauss\): ModuleNotFound"),
        ("trilemma_models", "trilemma_model", "line 10: there is no hook 'trilemma_model' .*trilemma_models"),
    ],
)
def test_a_mistake_in_a_file_that_was_asked_for_stops_the_command_with_its_line(
    old: str, new: str, message: str, tmp_path: Path
) -> None:
    file = tmp_path / "mine.py"
    file.write_text(GAUSS.format(name="mine").replace(old, new))
    with pytest.raises(trilemma.PluginError, match=message):
        Registry([file]).classes("models")


def test_every_hook_of_a_file_is_called_before_the_command_starts(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        GAUSS.format(name="mine") + "\n@trilemma.hookimpl\ndef trilemma_report_sections(): return [Gauss]\n"
    )
    with pytest.raises(trilemma.PluginError, match=r"trilemma_report_sections: .* not a subclass"):
        Registry([file])


def test_an_observer_that_raises_is_reported_and_the_others_are_called(install: Any) -> None:
    hook = "import trilemma\nseen = []\n@trilemma.hookimpl\ndef trilemma_cell_started(cell):\n    {}\n"
    install("one_plugin", hook.format("raise ValueError('no')"))
    install("two_plugin", hook.format("seen.append(cell)"))
    broken, well = Registry().observe("cell_started", path=None, cell={"id": "c"})
    assert "ValueError: no" in broken.error
    assert well.error == ""
    assert sys.modules["two_plugin"].seen == [{"id": "c"}]


REFERENCES = """
import trilemma

@trilemma.hookimpl
def trilemma_models():
    return {references}
"""


def test_a_class_that_is_registered_by_reference_is_imported_when_it_is_used(install: Any, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"lazy_{name}.py").write_text(GAUSS.format(name=f"lazy-{name}"))
    references = {"lazy-one": "lazy_one:Gauss", "lazy-two": "lazy_two:Gauss"}
    install("lazy_plugin", REFERENCES.format(references=references))
    registry = Registry()
    assert set(references) <= set(registry.names("models"))
    assert registry.provenance("models", "lazy-one").distribution == "dist-lazy_plugin"
    assert registry.get("models", "lazy-one").name == "lazy-one"
    assert "lazy_one" in sys.modules
    assert "lazy_two" not in sys.modules
    assert set(references) <= set(registry.classes("models"))


def test_the_docstring_of_a_reference_is_read_without_an_import_where_it_is_written(
    install: Any, tmp_path: Path
) -> None:
    written, made = GAUSS.format(name="written"), GAUSS.format(name="made").replace("class Gauss", "class Made")
    (tmp_path / "lazy_written.py").write_text(written + "raise RuntimeError('imported')\n")
    (tmp_path / "lazy_made.py").write_text(made.replace("[Gauss]", "[]") + "Gauss = Made\n")
    (tmp_path / "lazy_broken.py").write_text("raise RuntimeError('boom')")
    references = {name: f"lazy_{name}:Gauss" for name in ("written", "made", "broken", "absent")}
    install("lazy_plugin", REFERENCES.format(references=references))
    registry = Registry()
    found = registry.docstrings("models")
    assert found["written"] == found["made"] == "A Gaussian."
    assert {"lazy_written", "lazy_made"} & set(sys.modules) == {"lazy_made"}
    assert not {"broken", "absent"} & set(found)
    assert "RuntimeError: boom" in " ".join(registry.warnings())


def test_a_reference_may_be_relative_to_the_package_of_the_plugin(install: Any, tmp_path: Path) -> None:
    (tmp_path / "lazy_package").mkdir()
    (tmp_path / "lazy_package" / "gauss.py").write_text(GAUSS.format(name="inner"))
    install("lazy_package/__init__", REFERENCES.format(references={"inner": ".gauss:Gauss"}))
    entry = metadata.entry_points(group="trilemma")[-1]
    vars(entry).update(name="lazy_package", value="lazy_package")
    assert Registry().get("models", "inner").__module__ == "lazy_package.gauss"


@pytest.mark.parametrize(
    ("reference", "source", "message"),
    [
        ("lazy_absent:Gauss", "", "ModuleNotFoundError"),
        ("lazy_broken:Gauss", "raise RuntimeError('boom')", "RuntimeError: boom"),
        ("lazy_empty:Gauss", "", "AttributeError"),
        ("lazy_other:Gauss", GAUSS.format(name="other"), "the class is named 'other'"),
        ("lazy_wrong:Gauss", GAUSS.format(name="wrong").replace("def sample", "def samples"), "does not define sample"),
    ],
)
def test_a_broken_reference_breaks_one_class_only(
    reference: str, source: str, message: str, install: Any, tmp_path: Path
) -> None:
    if reference.startswith("lazy_absent"):
        assert not (tmp_path / "lazy_absent.py").exists()
    else:
        (tmp_path / f"{reference.partition(':')[0]}.py").write_text(source)
    (tmp_path / "lazy_well.py").write_text(GAUSS.format(name="well"))
    references = {"wrong": reference, "well": "lazy_well:Gauss"}
    install("lazy_plugin", REFERENCES.format(references=references))
    registry = Registry()
    with pytest.raises(trilemma.PluginError, match=rf"plugin 'lazy_plugin' of dist-lazy_plugin .*{message}"):
        registry.get("models", "wrong")
    assert "well" in registry.classes("models")
    assert "wrong" not in registry.classes("models")
    assert list(errors(registry)) == ["lazy_plugin"]
    assert any(message in warning for warning in registry.warnings())


@pytest.mark.parametrize("reference", ["gauss", "gauss:", ":Gauss", "a b:Gauss", 3])
def test_a_reference_that_is_none_is_an_error_of_the_plugin(reference: object, install: Any) -> None:
    install("lazy_plugin", REFERENCES.format(references={"x": reference}))
    assert "is not a name with a reference" in errors(Registry())["lazy_plugin"]
