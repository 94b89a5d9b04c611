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
    monkeypatch.setattr(metadata, "entry_points", lambda **which: [*real(**which), *added])
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


def test_an_observer_that_raises_is_reported_and_the_others_are_called(install: Any) -> None:
    hook = "import trilemma\nseen = []\n@trilemma.hookimpl\ndef trilemma_cell_started(cell):\n    {}\n"
    install("one_plugin", hook.format("raise ValueError('no')"))
    install("two_plugin", hook.format("seen.append(cell)"))
    broken, well = Registry().observe("cell_started", path=None, cell={"id": "c"})
    assert "ValueError: no" in broken.error
    assert well.error == ""
    assert sys.modules["two_plugin"].seen == [{"id": "c"}]
