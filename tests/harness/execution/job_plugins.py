"""Models for the tests of jobs: they count their trainings, wait, or kill the job that they are in."""

import os
import time
from pathlib import Path

import psutil
import torch

import trilemma

FOLDER = Path(os.environ.get("TRILEMMA_TEST_JOBS", "."))


class Plain(trilemma.Model):
    """Behaves, and notes each training."""

    name = "plain"
    likelihood = "exact"

    def fit(self, train, ctx):
        with (FOLDER / "fits").open("a") as stream:
            stream.write(f"{self.name}\n")
        self.p = torch.distributions.Normal(train.x.mean(0), train.x.std(0))

    def sample(self, n, ctx):
        return self.p.mean + self.p.stddev * torch.randn(n, *ctx.info.shape, generator=ctx.generator)

    def log_prob(self, x, ctx):
        return self.p.log_prob(x).sum(1)


class Waits(Plain):
    """Waits for the file `go`."""

    name = "waits"

    def fit(self, train, ctx):
        (FOLDER / "waiting").touch()
        while not (FOLDER / "go").exists():
            time.sleep(0.05)
        super().fit(train, ctx)


class Always(Plain):
    """Kills its job."""

    name = "always"

    def fit(self, train, ctx):
        with (FOLDER / "kills").open("a") as stream:
            stream.write(f"{self.name}\n")
        for process in psutil.Process().parents():
            if any("submitit" in word for word in process.cmdline()):
                process.kill()
        time.sleep(60)


class Once(Always):
    """Kills its job the first time."""

    name = "once"

    def fit(self, train, ctx):
        if not (FOLDER / "kills").exists():
            super().fit(train, ctx)
        Plain.fit(self, train, ctx)


@trilemma.hookimpl
def trilemma_models():
    return [Plain, Waits, Always, Once]
