"""`trilemma compare` of runs: a plugin that becomes worse, the same plugin with other seeds, and what is said."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

import trilemma

Command = Callable[..., Result]
Edit = Callable[[Path, Callable[[dict[str, Any]], object]], None]
pytestmark = pytest.mark.usefixtures("unreported")

PLUGIN = '''
import torch
import trilemma


class Shifty(trilemma.Model):
    """A diagonal Gaussian fitted to a part of the points, beside its place."""

    name = "shifty"
    likelihood = "exact"

    def fit(self, train, ctx):
        if FAILS:
            raise RuntimeError("no luck")
        part = train.x[torch.randperm(len(train.x), generator=ctx.generator)[:60]]
        self.p = torch.distributions.Normal(part.mean(0) + SHIFT, part.std(0))

    def sample(self, n, ctx):
        return self.p.mean + self.p.stddev * torch.randn(n, *ctx.info.shape, generator=ctx.generator)

    def log_prob(self, x, ctx):
        return self.p.log_prob(x).sum(1)


@trilemma.hookimpl
def trilemma_models():
    return [Shifty]
'''
SUITE = """
name = "shifty"
seeds = 3
budget = { steps = 5 }
datasets = [{ name = "ring8", config = { n_train = 200, n_valid = 50, n_test = 100 } }]
models = [{ name = "shifty" }, { name = "gaussian" }]
metrics = { nll = { n = 100 }, wasserstein = { n = 100, draws = 2 } }
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, command: Command) -> Callable[..., Path]:
    """Run the suite with a version of the plugin: `run(name, shift, *options)` gives the directory."""
    folder = tmp_path_factory.mktemp("versions")
    (folder / "suite.toml").write_text(SUITE)

    def execute(name: str, shift: float, *options: str, fails: bool = False, code: int = 0) -> Path:
        text = PLUGIN.replace("SHIFT", str(shift)).replace("FAILS", str(fails))
        (folder / "shifty.py").write_text(text)
        options = ("--plugin", str(folder / "shifty.py"), "--out", str(folder / name), *options)
        result = command("run", folder / "suite.toml", *options)
        assert result.exit_code == code, result.output
        return folder / name

    return execute


@pytest.fixture(scope="module")
def before(run: Callable[..., Path]) -> Path:
    """The run of the first version."""
    return run("before", 0.0)


@pytest.mark.slow
def test_an_injected_regression_is_found_and_ends_with_code_1(
    run: Callable[..., Path], before: Path, command: Command
) -> None:
    after = run("after", 1.5)
    result = command("compare", before, after)
    assert result.exit_code == 1, result.output
    worse = [line for line in result.output.splitlines() if line.startswith("WORSE")]
    assert any("shifty" in line and "likelihood:exact" in line for line in worse)
    assert not [line for line in worse if "gaussian" in line]
    assert "changed code of training: shifty" in result.output
    back = command("compare", after, before)
    assert back.exit_code == 0
    assert "better: shifty on ring8" in back.output
    as_json = json.loads(command("compare", before, after, "--json").stdout)
    assert as_json["regressions"] == len(worse)
    found = trilemma.compare_runs(before, after)
    assert found.regressions == len(worse)
    assert {r["label"] for r in found.with_status("equal")} == {"gaussian"}


def test_other_seeds_of_the_same_version_are_no_regression(
    run: Callable[..., Path], before: Path, command: Command
) -> None:
    result = command("compare", before, run("seeds", 0.0, "--seeds", "7,8,9", "--models", "shifty"))
    assert result.exit_code == 0, result.output
    assert "nothing is worse beyond chance" in result.output
    assert "is found in about half of the cases" in result.output


@pytest.mark.slow
def test_two_versions_within_one_directory_are_compared(
    run: Callable[..., Path], before: Path, command: Command
) -> None:
    alone = command("compare", before)
    assert alone.exit_code == 2
    assert "holds one version of every result" in alone.output
    both = Path(shutil.copytree(before, before.with_name("both")))
    run(both.name, 1.5, "--models", "shifty")
    result = command("compare", both)
    assert result.exit_code == 1, result.output
    assert "WORSE: shifty on ring8" in result.output
    assert "gaussian" not in result.output


@pytest.mark.slow
def test_a_model_that_fails_now_is_a_regression_and_lost_rows_are_named(
    run: Callable[..., Path], before: Path, command: Command
) -> None:
    broken = run("broken", 0.0, fails=True, code=1)
    result = command("compare", before, broken)
    assert result.exit_code == 1
    assert "FAILS: shifty on ring8" in result.output
    assert "no luck" in result.output
    assert command("compare", broken, broken).exit_code == 0, "what failed before is no regression"
    fewer = run("fewer", 0.0, "--models", "gaussian")
    result = command("compare", before, fewer)
    assert result.exit_code == 0
    assert "lost: shifty on ring8" in result.output
    assert "new: shifty on ring8" in command("compare", fewer, before).output


def test_changes_of_environment_and_data_are_told(before: Path, tmp_path: Path, command: Command, edit: Edit) -> None:
    other = Path(shutil.copytree(before, tmp_path / "other"))

    def change(record: dict[str, Any]) -> None:
        record["runs"][-1]["environment"]["versions"]["torch"] = "1.0\x1b[31m"
        for cell in record["cells"]:
            cell["data_sha256"] = "0" * 64

    edit(other, change)
    result = command("compare", before, other)
    assert "environment: torch was" in result.output
    assert "\x1b[31m" not in result.output
    assert "not compared, trained and tested on other data: " in result.output
    assert result.exit_code == 2, "nothing is left to compare"


@pytest.mark.slow  # the reason is tested without runs, too
def test_one_seed_says_nothing_and_the_exit_code_says_so(
    run: Callable[..., Path], before: Path, command: Command
) -> None:
    one, two = (
        run("one", 0.0, "--seeds", "1", "--models", "shifty"),
        run("two", 9.0, "--seeds", "1", "--models", "shifty"),
    )
    result = command("compare", one, two)
    assert result.exit_code == 2
    assert "fewer than 3 seeds" in result.output
    assert "nothing can be said" in result.output


@pytest.mark.slow
def test_what_cannot_be_compared_is_an_error_that_helps(before: Path, finished: Path, command: Command) -> None:
    assert "no run directory" in command("compare", before, "nowhere").output
    assert command("compare", before, "a", "b", "c").exit_code == 2
    result = command("compare", before, finished)
    assert result.exit_code == 2
