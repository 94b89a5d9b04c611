"""What the tests of trained models share: runs on images, and runs of models in a plugin file."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import trilemma

Quietly = Callable[[], contextlib.AbstractContextManager[None]]

PLUGIN = '''
import os, signal, torch, trilemma

class Kept(trilemma.Model):
    """A Gaussian with independent coordinates, which keeps its state."""
    name = "kept"
    likelihood = "exact"
    def fit(self, train, ctx):
        print("fitting")
        noise = 0.1 * torch.randn(2, generator=ctx.generator)
        self.mean, self.std = train.x.mean(0) + noise, train.x.std(0)
    def sample(self, n, ctx):
        print("sampling")
        return self.mean + self.std * torch.randn(n, *ctx.info.shape, generator=ctx.generator)
    def log_prob(self, x, ctx):
        return torch.distributions.Normal(self.mean, self.std).log_prob(x).sum(1)
    def state(self):
        return {"mean": self.mean, "std": self.std}
    def load_state(self, state):
        self.mean, self.std = state["mean"], state["std"]

class Stateless(Kept):
    """The same without a checkpoint and a likelihood."""
    name = "stateless"
    likelihood = "none"
    def state(self):
        return None

class Stopped(Kept):
    """A model whose user presses Ctrl-C while many samples are drawn."""
    name = "stopped"
    calls = 0
    def sample(self, n, ctx):
        Stopped.calls += 1
        if Stopped.calls > 40:
            os.kill(os.getpid(), signal.SIGINT)
        return super().sample(n, ctx)

@trilemma.hookimpl
def trilemma_models():
    return [Kept, Stateless, Stopped]
'''


def suite(*models: str, **more: Any) -> dict[str, Any]:
    """A suite of models on 100 points of ring8."""
    return {
        "name": "plugin",
        "budget": {"steps": 5},
        "datasets": [{"name": "ring8", "config": {"n_train": 100, "n_valid": 50, "n_test": 50}}],
        "models": [{"name": name} for name in models],
        "metrics": {"nll": {"n": 50, "mass_points": 0}, "wasserstein": {"n": 50, "draws": 2}},
        **more,
    }


@pytest.fixture
def plugin_run(plugin_runs: Path, tmp_path: Path) -> Path:
    """A copy of a run directory with the models of a plugin file, `kept`, `stateless` and `stopped`, for two seeds."""
    return Path(shutil.copytree(plugin_runs, tmp_path / "run"))


@pytest.fixture(scope="session")
def plugin_runs(tmp_path_factory: pytest.TempPathFactory, without_reports: Quietly) -> Path:
    """The run directory that `plugin_run` copies. The plugin file lies beside it."""
    folder = tmp_path_factory.mktemp("plugin")
    (folder / "kept.py").write_text(PLUGIN)
    models = ("kept", "stateless", "stopped")
    with without_reports():
        trilemma.run(suite(*models, seeds=2), out=folder / "run", plugins=[folder / "kept.py"])
    return folder / "run"


@pytest.fixture(scope="session")
def image_run(tmp_path_factory: pytest.TempPathFactory, without_reports: Quietly) -> Path:
    """The run directory of three models of digits."""
    out = tmp_path_factory.mktemp("images") / "run"
    values = {
        "name": "images",
        "budget": {"steps": 3},
        "datasets": [{"name": "digits"}],
        "models": [
            {"name": "gaussian"},
            {"name": "vae"},
            {"name": "vp-sde", "samplers": [{"name": "heun", "steps": [2, 3]}]},
        ],
        "metrics": {"nll": {"n": 40, "mass_points": 0}, "wasserstein": {"n": 30, "draws": 2}},
    }
    with without_reports():
        trilemma.run(values, out=out)
    return out
