"""Catalogs: what an installed plugin registers is known without importing it, and never when it may have changed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import trilemma
from trilemma.harness.plugins import Registry

PLUGIN = """
import trilemma

class Gauss(trilemma.Model):
    "A Gaussian."
    name = "their-gauss"
    likelihood = "none"
    def fit(self, train, ctx): ...
    def sample(self, n, ctx): ...

@trilemma.hookimpl
def trilemma_models():
    return [Gauss]
"""
OBSERVER = """
import trilemma
seen = []

@trilemma.hookimpl
def trilemma_cell_started(cell):
    seen.append(cell)
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """A function that installs a distribution with one plugin module, as pip lays it out. The cache is empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(site)
    before = set(sys.modules)

    def written(module: str, source: str, version: str = "1.0") -> Path:
        about = site / f"dist_{module}-{version}.dist-info"
        about.mkdir(exist_ok=True)
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: dist-{module}\nVersion: {version}\n")
        (about / "entry_points.txt").write_text(f"[trilemma]\n{module} = {module}\n")
        file = site / f"{module}.py"
        file.write_text(source)
        return file

    yield written
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def anew(module: str) -> Registry:
    """A registry as another process has it, which has not imported the plugin."""
    sys.modules.pop(module, None)
    return Registry()


def test_a_plugin_is_imported_once_to_know_what_it_registers(install: Callable[..., Path]) -> None:
    install("first_plugin", PLUGIN)
    Registry()
    again = anew("first_plugin")
    assert "their-gauss" in again.names("models")
    assert again.docstrings("models")["their-gauss"] == "A Gaussian."
    assert again.provenance("models", "their-gauss").distribution == "dist-first_plugin"
    assert not again.observed_by_others("cell_started")
    assert "first_plugin" not in sys.modules
    assert again.get("models", "their-gauss").name == "their-gauss"
    assert "first_plugin" in sys.modules


def test_other_plugins_are_not_imported_for_a_class(install: Callable[..., Path]) -> None:
    install("one_plugin", PLUGIN)
    install("two_plugin", PLUGIN.replace("their-gauss", "other-gauss"))
    Registry()
    sys.modules.pop("two_plugin")
    assert anew("one_plugin").get("models", "their-gauss").__module__ == "one_plugin"
    assert "two_plugin" not in sys.modules


@pytest.mark.parametrize("change", ["source", "version", "lost"])
def test_what_changes_is_read_again(change: str, install: Callable[..., Path], tmp_path: Path) -> None:
    file = install("new_plugin", PLUGIN)
    Registry()
    if change == "source":
        file.write_text(PLUGIN.replace("their-gauss", "new-gauss"))
    elif change == "version":
        os.rename(tmp_path / "site" / "dist_new_plugin-1.0.dist-info", tmp_path / "site" / "old")
        install("new_plugin", PLUGIN.replace("their-gauss", "new-gauss"), "2.0")
    else:
        for record in (tmp_path / "cache").rglob("*.json"):
            record.write_text("[]")
        file.write_text(PLUGIN.replace("their-gauss", "new-gauss"))
    names = anew("new_plugin").names("models")
    assert "new-gauss" in names
    assert "their-gauss" not in names


def test_the_same_version_elsewhere_is_another_plugin(
    install: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("moved_plugin", PLUGIN)
    Registry()
    other = tmp_path / "other"
    other.mkdir()
    (other / "moved_plugin.py").write_text(PLUGIN.replace("their-gauss", "elsewhere"))
    monkeypatch.syspath_prepend(other)
    assert "elsewhere" in anew("moved_plugin").names("models")


def test_an_observer_is_known_without_an_import_and_called_with_one(install: Callable[..., Path]) -> None:
    install("watching_plugin", OBSERVER)
    Registry()
    registry = anew("watching_plugin")
    assert registry.observed_by_others("cell_started")
    assert not registry.observed_by_others("run_finished")
    assert "watching_plugin" not in sys.modules
    assert [seen.error for seen in registry.observe("cell_started", path=None, cell={"id": "c"})] == [""]
    assert sys.modules["watching_plugin"].seen == [{"id": "c"}]


def test_a_broken_plugin_is_tried_each_time(install: Callable[..., Path]) -> None:
    file = install("mended_plugin", "raise RuntimeError('boom')")
    for _ in range(2):
        assert "RuntimeError: boom" in " ".join(anew("mended_plugin").warnings())
    file.write_text(PLUGIN)
    assert "their-gauss" in anew("mended_plugin").names("models")


def test_a_class_without_a_name_to_import_it_by_works_without_a_catalog(install: Callable[..., Path]) -> None:
    install(
        "made_plugin", PLUGIN.replace("    return [Gauss]", "    return [type('Made', (Gauss,), {'name': 'made'})]")
    )
    for _ in range(2):
        assert anew("made_plugin").get("models", "made").name == "made"


def test_a_class_that_can_no_longer_be_imported_is_an_error_of_its_plugin(install: Callable[..., Path]) -> None:
    install("needy_plugin", "import json.tool as needed\n" + PLUGIN)
    Registry()
    registry = anew("needy_plugin")
    sys.modules["json.tool"] = None  # type: ignore[assignment]
    try:
        with pytest.raises(trilemma.PluginError, match=r"dist-needy_plugin is broken: model 'their-gauss' .*Error"):
            registry.get("models", "their-gauss")
    finally:
        del sys.modules["json.tool"]


def test_nothing_is_kept_where_nothing_can_be_written(
    install: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    install("kept_plugin", PLUGIN)
    for _ in range(2):
        assert "their-gauss" in anew("kept_plugin").names("models")


INFO = """
import sys
from trilemma.harness.cli import main
main(["info", "their-gauss", "--json"], standalone_mode=False)
print("torch" in sys.modules, "lazy_plugin" in sys.modules, file=sys.stderr)
"""


def test_info_of_a_model_imports_nothing_heavy_the_second_time(install: Callable[..., Path], tmp_path: Path) -> None:
    file = install("lazy_plugin", PLUGIN)
    path = os.pathsep.join([str(tmp_path / "site"), *filter(None, [os.environ.get("PYTHONPATH")])])
    env = {**os.environ, "PYTHONPATH": path}

    def info() -> tuple[str, str]:
        done = subprocess.run([sys.executable, "-c", INFO], env=env, capture_output=True, text=True, timeout=100)
        return json.loads(done.stdout)["likelihood"], done.stderr.strip()

    assert info() == ("none", "True True")
    assert info() == ("none", "False False")
    file.write_text(PLUGIN.replace('likelihood = "none"', 'likelihood = "exact"\n    def log_prob(self, x, ctx): ...'))
    assert info() == ("exact", "True True")
