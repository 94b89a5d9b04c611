"""Every neural model ends with the same bits if its training is interrupted twice and goes on from its checkpoints."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

import trilemma
from trilemma.harness.execution.resume import PartialTraining
from trilemma.harness.execution.stages import Trained, prepare, train
from trilemma.harness.plugins import Registry

STEPS, CUTS = 11, (4, 8)
SMALL: dict[str, dict[str, Any]] = {
    "ar-levels": {"channels": 8, "blocks": 2},
    "sobolev-descent": {"particles": 50, "steps": 30},
    "unbalanced-sobolev-descent": {"particles": 50, "steps": 30},
    "ot-flow-matching": {"ot_batch": 16, "every": 3, "pool": 100},
    "rectified-flow": {"pairs": 90, "steps": 3, "first": 0.5},
    "ot-flow-matching-unet": {"ot_batch": 16, "every": 3, "pool": 100},
    "rectified-flow-unet": {"pairs": 90, "steps": 3, "first": 0.5},
    "distilled-flow-map": {"trajectories": 90, "intervals": 3, "first": 0.5},
    "distilled-flow-map-unet": {"trajectories": 90, "intervals": 3},
    "gan-unet": {"r1_every": 3},
    "ddgan-unet": {"r1_every": 3},
}
registry = Registry(builtin_only=True)
SLOW = {"cold-blur", "cold-mask", "cold-downsample", "gan-unet", "inverse-heat", "cnf"}
SLOW |= {"meanflow", "shortcut", "consistency"}  # they train like `flow-map`
SLOW |= {name for name in registry.classes("models") if name.endswith("-multiscale")}
# The forms for images train like their methods, and `edm-unet` like them.
SLOW |= {name for name in registry.classes("models") if name.endswith("-unet")} - {"edm-unet", "ddgan-unet"}
NEURAL = sorted(name for name, cls in registry.classes("models").items() if hasattr(cls, "recipe"))


class Cut(Exception):  # noqa: N818
    """The training was interrupted."""


class Cutting(PartialTraining):
    """Stores the state at the steps `cuts`, and interrupts the training there."""

    def __init__(self, file: Path, cuts: tuple[int, ...]) -> None:
        super().__init__(file, {"cell": "this"}, 1.0, print)
        self.cuts, self.steps = cuts, 0

    def load(self) -> Any:
        state = super().load()
        self.steps = self.resumed[-1] if self.resumed else 0
        return state

    def due(self) -> bool:
        self.steps += 1
        return self.steps in self.cuts

    def save(self, state: Any) -> None:
        super().save(state)
        raise Cut

    def decline(self, why: str) -> None:
        raise AssertionError(why)


@cache
def data(name: str) -> trilemma.Dataset:
    cls: Any = registry.get("datasets", name)
    return cls(cls.Config(n_train=100, n_valid=40, n_test=20) if name == "ring8" else cls.Config())


def fit(name: str, file: Path, cuts: tuple[int, ...], **recipe: Any) -> Trained:
    cls: Any = registry.get("models", name)
    model = cls(cls.Config(**SMALL.get(name, {})))
    batch = {"batch_size": 32, "validations": min(4, cls.recipe.validations), **recipe}
    return train(
        model,
        prepare(model, data("ring8" if "vector" in cls.accepts else "digits")),
        recipe=cls.recipe.model_copy(update=batch),
        budget=trilemma.Budget(steps=STEPS),
        seed=3,
        device=torch.device("cpu"),
        checkpoints=Cutting(file, cuts),
    )


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in NEURAL]
)
def test_an_interrupted_training_ends_with_the_same_bits(name: str, tmp_path: Path) -> None:
    whole = fit(name, tmp_path / "none", ())
    for number in range(len(CUTS)):
        with pytest.raises(Cut):
            fit(name, tmp_path / "state", CUTS[number:])
        torch.manual_seed(number)  # another process has other global random numbers
    resumed = fit(name, tmp_path / "state", ())
    assert whole.state is not None
    assert resumed.state is not None
    assert resumed.state.keys() == whole.state.keys()
    different = [key for key, value in whole.state.items() if not torch.equal(value, resumed.state[key])]
    assert different == []
    assert (resumed.curves, resumed.details, resumed.trace["steps"]) == (whole.curves, whole.details, STEPS)
