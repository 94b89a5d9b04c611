"""Fixtures of the tests of flows: random numbers, random weights, and every flow after a short training."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest
import torch
from torch import Tensor, nn

import trilemma
from trilemma.harness.plugins import Registry
from trilemma.plugins.flows.flow import Flow

FLOWS = [cls for cls in Registry(builtin_only=True).classes("models").values() if ".plugins.flows." in cls.__module__]


@pytest.fixture(scope="session")
def normal() -> Callable[..., Tensor]:
    """Standard normal numbers of a shape, times `scale`, in double precision."""

    def draw(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
        return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)

    return draw


@pytest.fixture(scope="session")
def scatter() -> Callable[[nn.Module], None]:
    """A function that draws the weights that start at zero, so that no layer is the identity."""

    def draw(module: nn.Module) -> None:
        for parameter in module.parameters():
            if not parameter.any():
                nn.init.normal_(parameter, std=0.1)

    return draw


class Family:
    """Every registered flow by its name, on toy data."""

    by_name = {model.name: model for model in FLOWS}

    def info(self, name: str, d: int = 2) -> trilemma.DataInfo:
        """Points of `d` coordinates, or images of 4 x 4 pixels."""
        if "vector" in self.by_name[name].accepts:
            return trilemma.DataInfo(name="toy", kind="vector", shape=(d,), n_train=20_000)
        return trilemma.DataInfo(name="toy", kind="image", shape=(1, 4, 4), n_train=20_000, levels=17)

    def context(self, name: str, d: int = 2, seed: int = 0, **fields: object) -> trilemma.Context:
        """A context with the defaults of the model."""
        model = self.by_name[name]
        return trilemma.Context(
            info=self.info(name, d),
            device=torch.device("cpu"),
            generator=torch.Generator().manual_seed(seed),
            sampler=model.samplers[0](),
            likelihood=model.Likelihood(),
            **fields,  # type: ignore[arg-type]
        )

    @staticmethod
    def blobs(n: int, seed: int, shape: tuple[int, ...] = (2,)) -> Tensor:
        """Two Gaussians whose centers lie on the diagonal."""
        generator = torch.Generator().manual_seed(seed)
        side = 2.0 * torch.randint(2, (n, *[1] * len(shape)), generator=generator) - 1
        return 0.9 * side + 0.45 * torch.randn((n, *shape), generator=generator)

    @cache  # noqa: B019
    def trained(self, name: str) -> trilemma.NeuralModel:
        """The model at its defaults after a few steps on two blobs."""
        model, shape = self.by_name[name](), self.info(name).shape
        clock = trilemma.Clock(trilemma.Budget(steps=50 if len(shape) == 1 else 25))
        ctx = self.context(name, valid=trilemma.Split(self.blobs(500, 2, shape)), clock=clock)
        ctx.recipe = model.recipe.model_copy(update={"batch_size": 128 if len(shape) == 1 else 32, "validations": 2})
        model.fit(trilemma.Split(self.blobs(4_000, 1, shape)), ctx)
        return model

    def random_flow(self, name: str, d: int, dtype: torch.dtype) -> Flow:
        """The flow of the model. Weights that start at zero are drawn at random, so that no layer is the identity."""
        torch.manual_seed(0)
        model = self.by_name[name]()
        model.build(self.info(name, d))
        # At random weights conditioners on images enlarge an error of rounding from layer to layer, more than trained
        # ones: after a minute of training a round trip of digits is exact to 1e-5.
        scale = 0.1 if "image" in model.accepts else 0.2
        for parameter in model.parameters():
            if not parameter.any():
                inputs = parameter[0].numel() if parameter.ndim > 1 else 64
                if parameter.ndim == 3:  # the stacked weights and biases of an MLP
                    inputs = parameter.shape[2] if parameter.shape[2] > 1 else 64
                nn.init.normal_(parameter, std=scale / inputs**0.5)
        model.eval().to(dtype)
        assert isinstance(model.flow, Flow)
        return model.flow


@pytest.fixture(scope="session")
def family() -> Family:
    """Every registered flow by its name, on toy data."""
    return Family()
