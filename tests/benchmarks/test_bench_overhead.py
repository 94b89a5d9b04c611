"""What trilemma costs besides the cells: start, planning, cells, and a run with nothing to do. On an idle machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.slow

PLUGIN = """
import time, torch, trilemma

class BurnConfig(trilemma.Config):
    seconds: float = 1.0

class Burn(trilemma.Model):
    "Burns one second of its processor with matrix products: a loop of clock reads alone is mostly time of the kernel."
    name = "burn"
    likelihood = "exact"
    Config = BurnConfig
    def fit(self, train, ctx):
        start, matrix = time.process_time(), torch.full((200, 200), 1 / 200)
        while time.process_time() - start < self.config.seconds: matrix = matrix @ matrix
        self.p = torch.distributions.MultivariateNormal(train.x.mean(0), train.x.T.cov())
    def sample(self, n, ctx): return self.p.sample((n,))
    def log_prob(self, x, ctx): return self.p.log_prob(x)

class Mean(trilemma.Metric):
    "The mean of some samples. It costs nothing, so that a cell takes one second."
    name = "mean"
    quantities = (trilemma.Quantity(name="mean"),)
    def compute(self, evaluation):
        return [self.quantities[0].result(float(evaluation.generate(10).mean()), evaluation.dim)]

@trilemma.hookimpl
def trilemma_models(): return [Burn]

@trilemma.hookimpl
def trilemma_metrics(): return [Mean]
"""
SUITE = """
name = "burn"
seeds = {seeds}
budget = {{ steps = 5 }}
datasets = [{{ name = "ring8", config = {{ n_train = 200, n_valid = 50, n_test = 100 }} }}]
models = [{{ name = "burn", config = {{ seconds = {seconds} }} }}]
metrics = {{ mean = {{}} }}
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "burn.py").write_text(PLUGIN)
    (tmp_path / "burn.toml").write_text(SUITE.format(seeds=200, seconds=1.0))
    (tmp_path / "many.toml").write_text(SUITE.format(seeds=10_000, seconds=0.0))
    return tmp_path


COMMAND = """
import atexit, resource, sys
from trilemma.harness.cli import main
atexit.register(lambda: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, file=sys.stderr))
main()
"""


def started(home: Path, *arguments: str) -> subprocess.Popen[str]:
    """A command that begins."""
    env = {**os.environ, "MPLBACKEND": "Agg", "XDG_CACHE_HOME": str(home / "cache")}
    command = [sys.executable, "-c", COMMAND, *arguments]
    return subprocess.Popen(command, cwd=home, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def measured(home: Path, *arguments: str) -> tuple[float, float]:
    """Wall seconds of a command, and the most MiB of memory of its own process."""
    start = time.monotonic()
    process = started(home, *arguments)
    _, said = process.communicate()
    assert process.returncode == 0, said
    return time.monotonic() - start, float(said.splitlines()[-1])


def seconds(home: Path, *arguments: str) -> float:
    """Wall seconds of a command."""
    return measured(home, *arguments)[0]


def test_two_hundred_cells_of_one_second_and_then_nothing(home: Path) -> None:
    run = ("run", "burn.toml", "--plugin", "burn.py", "--out", "out", "-j", "2")
    whole = seconds(home, *run)
    nothing = min(seconds(home, *run) for _ in range(3))
    # A second of the processor takes a little longer on the clock, as the machine has other work; that is not ours.
    records = [json.loads(path.read_text()) for path in home.glob("out/cells/*/record.json")]
    ideal = sum(record["training"]["wall_seconds"] for record in records) / 2
    print(f"\n200 cells of 1 s, two at a time: {whole:.1f} s (ideal {ideal:.1f} s); nothing left: {nothing:.2f} s")
    assert len(records) == 200
    assert ideal < 110, "the machine is busy"
    assert whole < 1.05 * ideal + 4
    assert nothing < 2


def test_the_plan_of_ten_thousand_cells(home: Path) -> None:
    plan, peak = measured(home, "run", "many.toml", "--plugin", "burn.py", "--out", "out", "--dry-run")
    (home / "few.toml").write_text(SUITE.format(seeds=10, seconds=0.0))
    _, least = measured(home, "run", "few.toml", "--plugin", "burn.py", "--out", "out", "--dry-run")
    print(f"\ndry run of 10,000 cells: {plan:.1f} s, {peak:.0f} MiB of memory; of 10 cells {least:.0f} MiB")
    assert plan < 5
    assert peak - least < 60, "the rest is torch and other libraries"


def test_the_memory_of_a_run_of_ten_thousand_cells(home: Path) -> None:
    process = started(home, "run", "many.toml", "--plugin", "burn.py", "--out", "out", "-j", "2")
    ended = home / "out" / "cells"

    def after(cells: int) -> float:
        """MiB of memory of the command when so many cells have ended."""
        while not ended.is_dir() or len(os.listdir(ended)) < cells:
            assert process.poll() is None
            time.sleep(0.05)
        return float(psutil.Process(process.pid).memory_info().rss / 2**20)

    begun, later = after(100), after(1_000)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    peak = float(said.splitlines()[-1])
    each = 1024 * (later - begun) / 900
    print(f"\n10,000 cells: {begun:.0f} MiB after 100, {later:.0f} after 1,000 ({each:.2f} KiB each), most {peak:.0f}")
    assert peak < 300
    assert later + 9_000 * each / 1024 < 300


@pytest.mark.parametrize("command", [["--help"], ["list", "models"], ["info", "realnvp"], ["check", "realnvp"]])
def test_commands_about_plugins(command: list[str], home: Path) -> None:
    print(f"\ntrilemma {' '.join(command)}: {min(seconds(home, *command) for _ in range(3)):.2f} s")
