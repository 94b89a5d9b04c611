"""Plugins with a Python environment of their own: conflicting versions of a library stand in one table."""

from __future__ import annotations

import json
import os
import sys
import venv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

import trilemma

MODEL = """
import shared_library, torch, trilemma
from pydantic import Field

if shared_library.VERSION != {version}:
    raise ImportError(f"version {version} of the library is needed")

class Needy(trilemma.Model):
    "It needs one version of a library."
    name = "needs-{version}"
    likelihood = "exact"
    class Config(trilemma.Config):
        "Options."
        scale: float = Field(1.0, gt=0, description="scale")
    def fit(self, train, ctx): self.p = torch.distributions.Normal(torch.zeros(2), self.config.scale)
    def sample(self, n, ctx): return torch.randn((n, 2), generator=ctx.generator) * self.config.scale
    def log_prob(self, x, ctx):
        ctx.details["version"] = shared_library.VERSION
        return self.p.log_prob(x).sum(1)

@trilemma.hookimpl
def trilemma_models(): return [Needy]
"""
SUITE = """
name = "both"
budget = {{ steps = 1 }}
datasets = [{{ name = "ring8", config = {{ n_train = 40, n_valid = 20, n_test = 20 }} }}]
metrics = {{ nll = {{ n = 20 }} }}
models = [{models}]

[plugins]
one = {{ load = "needs_1.py", python = "env-1" }}
two = {{ load = "needs_2.py", python = "env-2/bin/python" }}
"""
BOTH = '{ name = "gaussian" }, { name = "needs-1", config = { scale = 2.0 } }, { name = "needs-2" }'


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with two virtual environments that have two versions of one library, and a plugin for each."""
    home = tmp_path_factory.mktemp("environments")
    here = next(path for path in map(Path, sys.path) if (path / "torch").is_dir())
    for version in (1, 2):
        folder = home / f"env-{version}"
        venv.create(folder, with_pip=False)
        (site,) = folder.glob("lib/python*/site-packages")
        (site / "shared_library.py").write_text(f"VERSION = {version}\n")
        (site / "here.pth").write_text(f"import site; site.addsitedir({str(here)!r})\n")  # torch and the rest
        (home / f"needs_{version}.py").write_text(MODEL.format(version=version))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(trilemma.__file__).parents[1]))
        yield home


def run(home: Path, command: Callable[..., Result], models: str, *more: object, out: str = "run") -> Result:
    (home / "both.toml").write_text(SUITE.format(models=models))
    return command("run", home / "both.toml", "--out", home / out, "-j", "1", "--json", *more)


def nll(result: Result) -> dict[str, Any]:
    """The rows of the metric by model."""
    return {row["model"]: row for row in json.loads(result.stdout)["results"] if row["metric"] == "nll"}


@pytest.fixture(scope="module")
def done(home: Path, command: Callable[..., Result]) -> Result:
    """A run of both plugins beside a built-in model."""
    return run(home, command, BOTH)


@pytest.mark.slow
def test_conflicting_versions_stand_in_one_table(done: Result) -> None:
    assert done.exit_code == 0, done.output
    rows = nll(done)
    assert {name: row["outcome"] for name, row in rows.items()} == dict.fromkeys(
        ("gaussian", "needs-1", "needs-2"), "ok"
    )
    assert [rows[f"needs-{version}"]["details"]["version"] for version in (1, 2)] == [1, 2]
    assert rows["needs-1"]["config"] == {"scale": 2.0}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("library", "options"),
    [
        ("distributed", ["--executor", "dask"]),
        ("submitit", ["--executor", "slurm", "--slurm", "cluster=local"]),
    ],
)
def test_clusters_find_the_environments_by_their_paths(
    library: str, options: list[str], done: Result, home: Path, command: Callable[..., Result]
) -> None:
    pytest.importorskip(library)
    found = run(home, command, BOTH, *options, out=library)
    assert found.exit_code == 0, found.output
    here, there = nll(done), nll(found)
    assert {name: (row["value"], row["details"]) for name, row in there.items()} == {
        name: (row["value"], row["details"]) for name, row in here.items()
    }


@pytest.mark.slow
def test_another_version_in_an_environment_trains_its_model_again(
    done: Result, home: Path, command: Callable[..., Result]
) -> None:
    def planned() -> list[dict[str, Any]]:
        return list(json.loads(run(home, command, BOTH, "--dry-run").stdout))

    assert planned() == []
    (site,) = home.glob("env-2/lib/python*/site-packages")
    about = site / "another-3.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: another\nVersion: 3.0\n")
    assert [item["label"].split(" ")[0] for item in planned()] == ["needs-2"]
    os.unlink(about / "METADATA")
    about.rmdir()


@pytest.mark.slow
def test_mistakes_in_such_an_entry_have_their_line(done: Result, home: Path, command: Callable[..., Result]) -> None:
    wrong = '\n{ name = "gaussian" },\n{ name = "needs-1", config = { scale = -1.0, size = 3 } }'
    found = run(home, command, wrong)
    assert found.exit_code == 2
    assert "both.toml:8: models[1].config.scale: input should be greater than 0" in found.stderr
    assert "both.toml:8: models[1].config.size: there is no such key" in found.stderr


@pytest.mark.slow
def test_its_models_are_used_where_their_environment_is(done: Result, home: Path) -> None:
    with pytest.raises(
        trilemma.PluginError, match=r"needs-1' .*env-1/bin/python -m trilemma` and --plugin \S*needs_1.py"
    ):
        trilemma.load_model(home / "run", "needs-1")


def test_a_model_of_another_environment_is_not_loaded_here(finished_copy: Path, edit: Callable[..., None]) -> None:
    elsewhere = {"environment": "/elsewhere/bin/python", "plugin": "mine.py"}  # as a run records them
    edit(finished_copy, lambda record: [cell["model"].update(elsewhere) for cell in record["cells"]])
    with pytest.raises(trilemma.PluginError, match=r"gaussian' .*/elsewhere/bin/python -m trilemma` and --plugin mine"):
        trilemma.load_model(finished_copy, "gaussian")


@pytest.mark.parametrize(
    ("python", "said"),
    [
        ("no-such-folder", "plugins.one: there is no interpreter "),
        ("/bin/true", "/bin/true cannot be used for a plugin: it said nothing; install trilemma"),
    ],
)
def test_an_interpreter_that_is_none_is_reported(
    python: str, said: str, home: Path, command: Callable[..., Result]
) -> None:
    (home / "wrong.toml").write_text(SUITE.format(models=BOTH).replace('"env-1"', f'"{python}"'))
    found = command("run", home / "wrong.toml", "--out", home / "other")
    assert found.exit_code == 2
    assert said in found.stderr
