"""A library that a model needs and that is not installed: the model is unsupported, the others run."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

SUITE = """
name = "needs"
budget = { steps = 1 }
datasets = [{ name = "ring8", config = { n_train = 40, n_valid = 20, n_test = 20 } }]
models = [{ name = "top", config = { size = 3 } }, { name = "inside" }, { name = "gaussian" }]
metrics = { nll = { n = 20 } }
"""
MODEL = """
import torch, trilemma
from pydantic import Field
{top}

class Needy(trilemma.Model):
    "It needs a library."
    name = "{name}"
    likelihood = "exact"
    class Config(trilemma.Config):
        "Options."
        size: int = Field(3, description="size")
    def fit(self, train, ctx):
        {inside}
        self.p = torch.distributions.Normal(torch.zeros(2), torch.ones(2))
    def sample(self, n, ctx): return self.p.sample((n,))
    def log_prob(self, x, ctx): return self.p.log_prob(x).sum(1)
"""
HOOKS = """
import trilemma

@trilemma.hookimpl
def trilemma_models():
    return {"top": "needy_package.top:Needy", "inside": "needy_package.inside:Needy"}
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_zygote: None) -> Iterator[Path]:
    """A folder with an installed plugin whose models need a library that is not there."""
    site = tmp_path / "site"
    (site / "needy_package").mkdir(parents=True)
    (site / "needy_package" / "__init__.py").write_text(HOOKS)
    need = "import a_missing_library"
    (site / "needy_package" / "top.py").write_text(MODEL.format(top=need, inside="pass", name="top"))
    (site / "needy_package" / "inside.py").write_text(MODEL.format(top="", inside=need, name="inside"))
    about = site / "needy-1.0.dist-info"
    about.mkdir()
    requires = "Requires-Dist: torch\nRequires-Dist: A.Missing-library >= 2.1 ; extra == 'all'\n"
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: needy\nVersion: 1.0\n{requires}")
    (about / "entry_points.txt").write_text("[trilemma]\nneedy = needy_package\n")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(site)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
    yield site
    for name in [name for name in sys.modules if name.split(".")[0] in ("needy_package", "a_missing_library")]:
        del sys.modules[name]


def test_info_says_what_to_install(site: Path, command: Callable[..., Result]) -> None:
    found = command("info", "top")
    assert found.exit_code == 2
    assert "model 'top' needs the library 'a_missing_library'" in found.stderr
    assert "pip install 'A.Missing-library>=2.1'" in found.stderr
    assert command("info", "inside").exit_code == 0


def test_the_model_is_unsupported_until_its_library_is_installed(
    site: Path, tmp_path: Path, command: Callable[..., Result]
) -> None:
    (tmp_path / "needs.toml").write_text(SUITE)
    words = ("run", tmp_path / "needs.toml", "--out", tmp_path / "run", "-j", "1", "--json")

    def rows(done: Result) -> dict[str, dict[str, Any]]:
        assert done.exit_code == 0, done.output
        return {row["model"]: row for row in json.loads(done.stdout)["results"]}

    found = rows(command(*words))
    assert {name: row["outcome"] for name, row in found.items()} == {
        "top": "unsupported",
        "inside": "unsupported",
        "gaussian": "ok",
    }
    said = "needs the library 'a_missing_library', which is not installed; install it with: "
    for name in ("top", "inside"):
        assert f"{said}pip install 'A.Missing-library>=2.1'" in found[name]["message"]
    assert rows(command(*words)) == found
    (site / "a_missing_library.py").write_text("")
    assert {row["outcome"] for row in rows(command(*words)).values()} == {"ok"}
