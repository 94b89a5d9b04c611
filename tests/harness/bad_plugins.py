"""Models that misbehave in every way a plugin can, loaded with --plugin by the tests."""

import os
import signal
import time

import psutil
import torch

import trilemma


class Well(trilemma.Model):
    """Behaves: a diagonal Gaussian."""

    name = "well"
    likelihood = "exact"

    def fit(self, train, ctx):
        self.p = torch.distributions.Normal(train.x.mean(0), train.x.std(0))

    def sample(self, n, ctx):
        return self.p.mean + self.p.stddev * torch.randn(n, *ctx.info.shape, generator=ctx.generator)

    def log_prob(self, x, ctx):
        return self.p.log_prob(x).sum(1)


class Raises(Well):
    """Raises in fit."""

    name = "raises"

    def fit(self, train, ctx):
        raise RuntimeError("no <b>luck</b> today")


class Nan(Well):
    """Returns samples that are not numbers."""

    name = "nan"

    def sample(self, n, ctx):
        return torch.full((n, *ctx.info.shape), float("nan"))


class Shape(Well):
    """Returns samples of a wrong shape."""

    name = "shape"

    def sample(self, n, ctx):
        return torch.zeros(n, 7)


class Sleeps(Well):
    """Sleeps past its limit and ignores TERM."""

    name = "sleeps"

    def fit(self, train, ctx):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("about to sleep", flush=True)
        time.sleep(600)


class Hogs(Well):
    """Allocates past its memory limit."""

    name = "hogs"

    def fit(self, train, ctx):
        hoard = []
        while True:
            hoard.append(torch.ones(2**24))
            time.sleep(0.02)


class Killed(Well):
    """Is killed in fit, but only where the test asks for it."""

    name = "killed"

    def fit(self, train, ctx):
        super().fit(train, ctx)
        marker = os.environ.get("TRILEMMA_TEST_KILL")
        if marker:
            try:
                os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                return
            os.kill(os.getpid(), signal.SIGKILL)


class KilledLate(Well):
    """Trains well and is killed while it samples."""

    name = "killed-late"

    def sample(self, n, ctx):
        os.kill(os.getpid(), signal.SIGKILL)


class Exits(Well):
    """Leaves the process."""

    name = "exits"

    def fit(self, train, ctx):
        os._exit(3)


class Leaves(Well):
    """Leaves the process in fit as if all were well."""

    name = "leaves"

    def fit(self, train, ctx):
        os._exit(0)


class LeavesLate(Well):
    """Leaves the process while it samples as if all were well, but only where the test asks for it."""

    name = "leaves-late"

    def sample(self, n, ctx):
        if os.environ.get("TRILEMMA_TEST_LEAVE"):
            os._exit(0)
        return super().sample(n, ctx)


class KillsZygote(Well):
    """Kills the process from which cells are forked."""

    name = "kills-zygote"

    def fit(self, train, ctx):
        psutil.Process().parent().parent().kill()
        time.sleep(600)


class TakesAWhile(Well):
    """Behaves, but takes some seconds."""

    name = "takes-a-while"

    def fit(self, train, ctx):
        super().fit(train, ctx)
        time.sleep(4)


class ImagesOnly(Well):
    """Cannot take vectors."""

    name = "images-only"
    accepts = ("image",)


class Counts(Well):
    """Notes each fit in a file, and keeps its state."""

    name = "counts"

    def fit(self, train, ctx):
        super().fit(train, ctx)
        with open(os.environ["TRILEMMA_TEST_COUNT"], "a") as file:
            file.write("fit\n")

    def state(self):
        return {"mean": self.p.mean, "std": self.p.stddev}

    def load_state(self, state):
        self.p = torch.distributions.Normal(state["mean"], state["std"])


class Slow(Well):
    """Takes its time, a step at a time."""

    name = "slow"

    def fit(self, train, ctx):
        super().fit(train, ctx)
        time.sleep(30)


class BadData(trilemma.Distribution):
    """A dataset whose distribution raises."""

    name = "bad-data"

    def sample(self, n, generator):
        raise OSError("the file is gone")

    def log_prob(self, x):
        return x.sum(1)


@trilemma.hookimpl
def trilemma_models():
    return [
        *(Well, Raises, Nan, Shape, Sleeps, Hogs, Killed, KilledLate, Exits, ImagesOnly, Counts, Slow),
        *(Leaves, LeavesLate, KillsZygote, TakesAWhile),
    ]


@trilemma.hookimpl
def trilemma_datasets():
    return [BadData]


@trilemma.hookimpl
def trilemma_cell_finished(path, cell, outcome):
    raise ValueError("observers may fail")
