"""The examples are complete plugins: the package builds, installs and runs beside the built-in ones; the file runs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import trilemma
from trilemma.harness.cli import main
from trilemma.harness.plugins import Registry

EXAMPLES = Path(__file__).parents[2] / "examples"
TINY = """
name = "tiny"
budget = { steps = 30 }
datasets = [{ name = "ring8", config = { n_train = 500, n_valid = 100, n_test = 200 } }]
models = [{ name = "gaussian" }]
metrics = { nll = { n = 100 }, wasserstein = { n = 100, draws = 2 } }
"""


def python(*arguments: object, where: Path, path: Path | None = None) -> str:
    """Standard output of a Python process in a folder, which must succeed; it imports the trilemma that is under test,
    and what is in `path`.
    """
    folders = [*([path] if path else []), Path(trilemma.__file__).parents[1]]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(map(str, folders))}
    command = [sys.executable, *(str(argument) for argument in arguments)]
    done = subprocess.run(command, cwd=where, env=env, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the example package, away from this repository, with a tiny suite beside it."""
    folder = tmp_path_factory.mktemp("package") / "trilemma-gauss"
    shutil.copytree(EXAMPLES / "trilemma-gauss", folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "tiny.toml").write_text(TINY)
    return folder


@pytest.fixture(scope="module")
def installed(package: Path) -> Path:
    """A folder with the package installed, by its build backend alone: needs neither pip nor a network."""
    build = "import sys; from hatchling.build import build_wheel; build_wheel(sys.argv[1])"
    wheels, target = package / "wheels", package / "site"
    wheels.mkdir()
    python("-c", build, wheels, where=package)
    (wheel,) = wheels.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(target)
    return target


QUESTIONS = """
import contextlib, io, json
import pytest
from click.testing import CliRunner
from trilemma.harness.cli import main
from trilemma.reports import write

write.write_report = lambda view, sections, out: []  # nobody looks at it, and it takes long

def ask(*words):
    answer = CliRunner().invoke(main, words)
    assert answer.exit_code == 0, answer.output
    return json.loads(answer.stdout)

models = ask("list", "models", "--json")
done = ask("run", "tiny.toml", "--models", "gauss,gaussian", "--out", "run", "--json")
with contextlib.redirect_stdout(io.StringIO()) as tested:
    pytest.main(["-p", "no:cacheprovider", "tests"])
print(json.dumps({"models": models, "run": done, "tests": tested.getvalue()}))
"""


@pytest.fixture(scope="module")
def answers(package: Path, installed: Path) -> dict[str, Any]:
    """Where the package is installed: the list of models, a run of the tiny suite, the package's own tests."""
    found: dict[str, Any] = json.loads(python("-c", QUESTIONS, where=package, path=installed))
    return found


def test_the_package_is_listed_with_its_distribution(answers: dict[str, Any]) -> None:
    (gauss,) = [row for row in answers["models"] if row["name"] == "gauss"]
    assert gauss["plugin"] == "trilemma-gauss"
    assert gauss["likelihood"] == "exact"
    assert gauss["description"] == "A single full-covariance Gaussian fitted by maximum likelihood."
    assert "gauss" not in Registry().classes("models"), "and only where it is installed"


def test_the_package_runs_and_agrees_with_the_built_in_gaussian(answers: dict[str, Any]) -> None:
    assert answers["run"]["outcomes"] == {"ok": 2}
    values = {row["model"]: row["value"] for row in answers["run"]["results"] if row["metric"] == "nll"}
    assert values["gauss"] == pytest.approx(values["gaussian"], abs=1e-4)


def test_the_packages_own_test_passes(answers: dict[str, Any]) -> None:
    assert "1 passed" in answers["tests"]


def test_the_single_file_runs_at_every_sampler_setting(tmp_path: Path) -> None:
    suite = tmp_path / "tiny.toml"
    suite.write_text(
        TINY.replace('{ name = "gaussian" }', '{ name = "my-model", samplers = [{ name = "euler", steps = [1, 4] }] }')
    )
    words = ("run", suite, "--plugin", EXAMPLES / "my_model.py", "--out", tmp_path / "run", "--json")
    done = json.loads(CliRunner().invoke(main, [str(word) for word in words]).stdout)
    assert set(done["outcomes"]) <= {"ok", "unsupported"}
    nfe = {row["sampler"]: row["nfe"] for row in done["results"] if row["metric"] == "w2"}
    assert nfe == {"euler(steps=1)": 1.0, "euler(steps=4)": 4.0}
    assert [row["outcome"] for row in done["results"] if row["sampler"] is None] == ["unsupported"]
