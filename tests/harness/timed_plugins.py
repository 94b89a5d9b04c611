"""Models and metrics that note when they run, and a metric of times that does what the test asks for."""

import json
import os
import signal
import time

import torch

import trilemma


def note(what, begun, **about):
    with open(os.environ["TRILEMMA_TEST_LOG"], "a") as log:
        log.write(json.dumps({"what": what, "begun": begun, "ended": time.time(), **about}) + "\n")


def noted():
    with open(os.environ["TRILEMMA_TEST_LOG"]) as log:
        return [json.loads(line) for line in log]


class One(trilemma.Sampler):
    """One sampler."""

    name = "one"


class Two(trilemma.Sampler):
    """Another sampler."""

    name = "two"


class Lost(trilemma.Model):
    """A Gaussian without a checkpoint."""

    name = "lost"
    samplers = (One, Two)

    class Config(trilemma.Config):
        """Options."""

        tag: int = 0

    def fit(self, train, ctx):
        begun = time.time()
        self.p = torch.distributions.Normal(train.x.mean(0), train.x.std(0))
        time.sleep(0.05)
        note("fit", begun, tag=self.config.tag)

    def sample(self, n, ctx):
        return self.p.mean + self.p.stddev * torch.randn(n, *ctx.info.shape, generator=ctx.generator)


class Kept(Lost):
    """A Gaussian with a checkpoint."""

    name = "kept"

    def state(self):
        return {"mean": self.p.mean, "std": self.p.stddev}

    def load_state(self, state):
        self.p = torch.distributions.Normal(state["mean"], state["std"])


class Spread(trilemma.Metric):
    """A metric of samples."""

    name = "spread"

    class Config(trilemma.Config):
        """Options."""

        n: int = 20

    def compute(self, evaluation):
        begun = time.time()
        value = float(evaluation.generate(self.config.n).std())
        note("spread", begun, sampler=evaluation.sampler.name)
        return [trilemma.Result(metric="spread", value=value)]


class Ticks(trilemma.Metric):
    """A time that the test gives for each visit: a number, `c` after it for contended, or what goes wrong."""

    name = "ticks"
    stage = "timing"
    compares = False

    class Config(trilemma.Config):
        """Options."""

        scale: float = 1.0

    def compute(self, evaluation):
        begun, key = time.time(), {"sampler": evaluation.sampler.name, "tag": evaluation.model.config.tag}
        before = sum(entry["what"] == "ticks" and key.items() <= entry.items() for entry in noted())
        plan = json.loads(os.environ.get("TRILEMMA_TEST_TICKS", "{}"))
        asked = plan.get(key["sampler"], ["1"])
        told = asked[min(before, len(asked) - 1)]
        time.sleep(0.02)
        note("ticks", begun, seed=evaluation.seed, pid=os.getpid(), **key)
        if told == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if told == "raise":
            raise RuntimeError("no time")
        details = {"contended": True} if told.endswith("c") else {}
        value = self.config.scale * float(told.removesuffix("c"))
        return [trilemma.Result(metric="ticks", value=value, unit="s", group="sampling", details=details)]


@trilemma.hookimpl
def trilemma_models():
    return [Lost, Kept]


@trilemma.hookimpl
def trilemma_metrics():
    return [Spread, Ticks]
