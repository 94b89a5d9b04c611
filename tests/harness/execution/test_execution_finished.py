"""A run in which nothing is left to do is recognized without a plugin, and never if anything has changed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import matplotlib
import pytest

SUITE = """
name = "one"
budget = { steps = 2 }
datasets = [{ name = "moons", config = { n_train = 40, n_valid = 20, n_test = 20 } }]
models = [{ name = "box" }]
metrics = { nll = { n = 20 } }
"""
PLUGIN = """
import pathlib, helper, torch, trilemma
OPTIONS = pathlib.Path(__file__).with_name("options.txt").read_text()
PARTS = sorted(file.name for file in pathlib.Path(__file__).with_name("parts").iterdir())

class Box(trilemma.Model):
    "A Gaussian."
    name = "box"
    likelihood = "exact"
    def fit(self, train, ctx): self.p = torch.distributions.Normal(torch.zeros(2), helper.SCALE)
    def sample(self, n, ctx): return self.p.sample((n,))
    def log_prob(self, x, ctx): return self.p.log_prob(x).sum(1)

@trilemma.hookimpl
def trilemma_models(): return [Box]
"""
RECALL = """
import sys
from trilemma.harness import api
finished = api.memory("one.toml", out=sys.argv[1], plugins=["box.py"], set=sys.argv[2:]).recall()
assert not {"torch", "box"} & set(sys.modules)
print(finished is not None)
"""
Recall = Callable[..., bool]


def python(home: Path, *arguments: str, safe: str = "-P", **env: str) -> subprocess.CompletedProcess[str]:
    """A process with a memory of its own, but with the fonts that are known here, and without new caches of code."""
    place = {"XDG_CACHE_HOME": str(home.with_name("cache")), "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    place |= {"MPLCONFIGDIR": matplotlib.get_cachedir(), "PYTHONDONTWRITEBYTECODE": "1"}
    place["PYTHONPATH"] = os.pathsep.join(filter(None, [place["PYTHONPATH"], str(home)]))
    command = [sys.executable, *filter(None, [safe]), *arguments]
    full = {**os.environ, **place, "MPLBACKEND": "Agg", **env}
    return subprocess.run(command, cwd=home, env=full, capture_output=True, text=True, check=False)


def run(home: Path, *arguments: str, safe: str = "-P") -> subprocess.CompletedProcess[str]:
    command = ("-m", "trilemma", "run", "one.toml", "--plugin", "box.py", "--out", "out")
    return python(home, *command, *arguments, safe=safe)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a suite, a plugin and a module beside it, in which the suite was run."""
    home = tmp_path_factory.mktemp("finished") / "home"
    (home / "parts").mkdir(parents=True)
    for name, text in {"one.toml": SUITE, "box.py": PLUGIN, "helper.py": "SCALE = 1.0\n", "options.txt": "a"}.items():
        (home / name).write_text(text)
    first = run(home)
    assert first.returncode == 0, first.stderr
    return home


@pytest.fixture
def recall(home: Path) -> Recall:
    """Whether the run is known to be finished, in a new process that imports nothing heavy."""

    def ask(*assignments: str, out: str = "out", **env: str) -> bool:
        answer = python(home, "-c", RECALL, out, *assignments, **env)
        assert answer.returncode == 0, answer.stderr
        return answer.stdout.strip() == "True"

    return ask


def test_the_next_run_does_nothing_and_says_so(home: Path) -> None:
    before = (home / "out" / "run.json").stat().st_mtime_ns
    again = run(home, "--json")
    assert again.returncode == 0
    assert "nothing is left to do" in again.stderr
    record = json.loads(again.stdout)
    assert record["outcomes"] == {"ok": 1}
    assert "out/report.html" in record["written"]
    assert (home / "out" / "run.json").stat().st_mtime_ns == before


def test_python_m_trilemma_knows_what_the_command_has_done(home: Path) -> None:
    """Also without -P, by which Python does not look for modules in the working directory."""
    again = run(home, safe="")
    assert "nothing is left to do" in again.stderr


def test_rerun_runs(home: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(home, tmp_path / "home")
    assert "nothing is left" not in run(copy, "--rerun", "--dry-run").stderr


def test_a_question_that_differs_has_no_answer(recall: Recall) -> None:
    assert recall()
    assert not recall("seeds=2")
    assert not recall("budget.steps=3")
    assert not recall(out="elsewhere")
    assert not recall(MY_OPTION="1")  # plugins may read it


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("box.py", PLUGIN.replace("zeros(2)", "ones(2)")),
        ("helper.py", "SCALE = 2.0\n"),
        ("options.txt", "b"),
        ("parts/new.txt", ""),
        ("torch.py", ""),
        ("out/report.html", "changed"),
        ("out/run.json", "{}"),
        ("out/cells/new/record.json", "{}"),
        ("out/parts/job", ""),
    ],
)
def test_a_change_leads_to_a_new_plan(file: str, text: str, home: Path, recall: Recall) -> None:
    """One file is changed: the plugin, a module or a file that it reads, a module that hides another, or a result."""
    place = home / file
    before = place.read_text() if place.exists() else None
    if not place.parent.exists():
        place.parent.mkdir()
    copy = shutil.copy2(place, home.with_name("kept")) if before is not None else None
    place.write_text(text)
    try:
        assert not recall()
    finally:
        if copy is None:
            place.unlink()
        else:
            os.replace(copy, place)
        if file.startswith(("out/cells", "out/parts")):
            place.parent.rmdir()


def test_a_tensor_file_that_has_changed_or_gone_leads_to_a_new_plan(home: Path, recall: Recall, tmp_path: Path) -> None:
    file = next((home / "out").glob("data/*/test.safetensors"))
    kept = shutil.copy2(file, tmp_path / "kept")
    with file.open("r+b") as stream:
        stream.seek(-1, os.SEEK_END)
        stream.write(b"!")
    changed = recall()
    file.unlink()
    gone = recall()
    shutil.move(kept, file)
    assert (changed, gone) == (False, False)


def test_options_of_another_executor_are_refused_also_if_nothing_is_left_to_do(home: Path) -> None:
    refused = run(home, "--scheduler-address", "tcp://nowhere:1")
    assert refused.returncode == 2
    assert "--scheduler-address needs --executor dask" in refused.stderr


@pytest.mark.slow
def test_a_plugin_that_observes_runs_is_always_called(home: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(home, tmp_path / "home")
    hook = "@trilemma.hookimpl\ndef trilemma_run_finished(path): print('observed')\n"
    (copy / "box.py").write_text(f"{PLUGIN}\n{hook}")
    for _ in range(2):
        found = run(copy)
        assert found.returncode == 0, found.stderr
        assert "observed" in found.stderr  # standard output is for data
