"""Neural models that a test can hold in the middle of their training."""

import os
import time
from pathlib import Path

import torch
from torch import nn

import trilemma

HOLD_AT = 12


class Patient(trilemma.NeuralModel):
    """A small regression with dropout. At a step it waits for the file `hold` of the folder of the test to go away."""

    name = "patient"

    def build(self, info):
        self.net = nn.Sequential(nn.Linear(info.dim, 8), nn.Dropout(0.3), nn.Linear(8, info.dim))

    def loss(self, x, ctx):
        return (self.net(x + torch.randn(x.shape, generator=ctx.generator)) - x).square().mean()

    def training_step(self, x, ctx, update):
        folder = os.environ.get("TRILEMMA_TEST_PATIENT")
        if folder and ctx.clock.step >= HOLD_AT and Path(folder, "hold").exists():
            Path(folder, "pid").write_text(str(os.getpid()))
            Path(folder, "held").touch()
            time.sleep(0.1)  # and go on, for the loop to see a request to end
            while Path(folder, "frozen").exists():
                time.sleep(0.05)
        return super().training_step(x, ctx, update)

    def sample(self, n, ctx):
        return self.net(torch.randn(n, ctx.info.dim, generator=ctx.generator))


class Forgetful(Patient):
    """Counts its steps in an attribute that no checkpoint holds."""

    name = "forgetful"

    def initialize(self, train, ctx):
        self.count = 0

    def training_step(self, x, ctx, update):
        self.count += 1
        return super().training_step(x * (1 + self.count), ctx, update)


class Mindful(Forgetful):
    """Counts its steps, and says so."""

    name = "mindful"

    def training_state(self):
        return {"count": self.count}

    def load_training_state(self, state):
        self.count = state["count"]


@trilemma.hookimpl
def trilemma_models():
    return [Patient, Forgetful, Mindful]
