"""The command `trilemma claims`: lists, plans, runs, and what it says of mistakes in files of claims."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from trilemma.harness.cli import main

PLUGIN = """
from pathlib import Path
import trilemma

@trilemma.hookimpl
def trilemma_claims():
    return [Path(__file__).with_name("claims.toml")]
"""
CLAIMS = """
[[claims]]
name = "one-gaussian-is-not-enough"
family = "toys"
claim = "A single Gaussian does not fit a ring of Gaussians."
citation = "Nobody 2000"
place = "table 1"
steps = { quick = 1, full = 1 }
seeds = { quick = 5, full = 5 }
datasets = [{ name = "ring8", config = { n_train = 500, n_valid = 100, n_test = 500 } }]
models = [{ name = "oracle" }, { name = "gaussian" }]

[[claims.comparisons]]
metric = "witness_energy"
a = { model = "gaussian", sampler = "direct" }
b = { model = "oracle", sampler = "direct" }
expect = "higher"
interest = 2.0
"""


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    (tmp_path / "claims.toml").write_text(CLAIMS)
    file = tmp_path / "toy_claims.py"
    file.write_text(PLUGIN)
    return file


def trilemma(*words: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, ["claims", *map(str, words)])
    return result.exit_code, result.stdout, result.stderr


def test_list_shows_claims_with_their_places(plugin: Path) -> None:
    code, out, _ = trilemma("--list", "--plugin", plugin, "--only", "toys")
    assert code == 0
    assert "one-gaussian-is-not-enough" in out
    assert "Nobody 2000, table 1" in out
    assert "(not checked)" in out
    listed = json.loads(trilemma("--list", "--json", "--only", "samplers")[1])
    assert {claim["checked"] for claim in listed} <= {"", "abstract", "full text", "secondary source"}
    assert {claim["family"] for claim in listed} == {"samplers"}


def test_without_results_nothing_was_run(plugin: Path, tmp_path: Path) -> None:
    code, out, _ = trilemma("--stored", "--json", "--plugin", plugin, "--only", "toys", "--out", tmp_path / "no")
    assert code == 0
    (record,) = json.loads(out)
    assert record["verdict"] == "not run"
    assert not (tmp_path / "no").exists()


def test_unknown_names_get_a_suggestion() -> None:
    code, _, err = trilemma("--list", "--only", "sampler")
    assert code == 2
    assert "samplers" in err


def test_mistakes_in_a_file_are_named_with_their_lines(plugin: Path, tmp_path: Path) -> None:
    (tmp_path / "claims.toml").write_text(CLAIMS.replace('expect = "higher"', 'expct = "higher"'))
    code, _, err = trilemma("--list", "--plugin", plugin)
    assert code == 2
    assert "claims.toml:17: claims[0].comparisons[0].expct: there is no such key" in err


@pytest.mark.slow
def test_a_claim_is_planned_run_and_judged(plugin: Path, tmp_path: Path) -> None:
    common = ("--plugin", plugin, "--only", "toys", "--out", tmp_path / "run")
    code, out, err = trilemma("--dry-run", *common)
    assert code == 0
    assert "one-gaussian-is-not-enough: 10 cells" in out
    assert not (tmp_path / "run").exists()
    code, out, err = trilemma(*common, "--save", tmp_path / "claims.json")
    assert code == 0, err
    assert "reproduced" in out
    (saved,) = json.loads((tmp_path / "claims.json").read_text())["claims"]
    assert saved["verdict"] == "reproduced"
    assert len(saved["comparisons"][0]["a"]["values"]) == 5
    assert "nothing to run" in trilemma("--dry-run", *common)[1]


@pytest.mark.slow
def test_a_claim_reads_its_own_setting_of_a_metric_after_another_one_was_measured(plugin: Path, tmp_path: Path) -> None:
    common = ("--plugin", plugin, "--only", "toys", "--out", tmp_path / "run", "--json")
    own = "metrics = { witness_energy = { n = %d } }\n"

    def values(n: int) -> dict[str, float]:
        (tmp_path / "claims.toml").write_text(CLAIMS.replace("[[claims.comp", own % n + "\n[[claims.comp"))
        code, out, err = trilemma(*common)
        assert code == 0, err
        found: dict[str, float] = json.loads(out)[0]["comparisons"][0]["a"]["values"]
        return found

    first, other, again = values(300), values(400), values(300)
    assert first == again != other
