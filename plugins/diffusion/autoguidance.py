"""Autoguidance (Karras et al. 2024): a weaker version of a model guides it, here its own weights early in training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call

import trilemma

from .denoiser import Denoiser, DenoiserSampler
from .reverse_chain import ReverseModel

EARLY = 0.05, 0.1
"""The shares of the schedule of training between which the weights of the weaker model are averaged."""


class EarlyWeights(nn.Module):
    """The mean of the weights of a denoiser over steps early in training. It is stored with the model as buffers."""

    steps: Tensor

    def __init__(self, denoiser: nn.Module) -> None:
        super().__init__()
        self._names = [name for name, _ in denoiser.named_parameters()]
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))
        for number, parameter in enumerate(denoiser.parameters()):
            self.register_buffer(str(number), parameter.detach().clone())

    @torch.no_grad()
    def add(self, denoiser: nn.Module) -> None:
        """Include the present weights in the mean."""
        self.steps += 1
        for number, parameter in enumerate(denoiser.parameters()):
            self.get_buffer(str(number)).lerp_(parameter, 1 / float(self.steps))

    def weights(self) -> Mapping[str, Tensor]:
        """The weights by the names of the parameters of the denoiser."""
        return {name: self.get_buffer(str(number)) for number, name in enumerate(self._names)}


class GuidedDenoiser:
    """D_1 + w (D_1 - D_0), with the weaker denoiser D_0, at two evaluations for each (Karras et al. 2024).

    The weight w is 0 without guidance; the paper's weight is 1 + w. If the denoiser clips to the support of the data,
    the guided estimate is clipped to it too.
    """

    def __init__(self, denoiser: nn.Module, weaker: Mapping[str, Tensor], weight: float) -> None:
        self.denoiser, self.weaker, self.weight = denoiser, dict(weaker), weight

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        return self._guided(self.denoiser(x, sigma), x, sigma)

    def both(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """The guided estimate, and the exponent of the variance of the model itself (see `ReverseModel`)."""
        assert isinstance(self.denoiser, ReverseModel)
        clean, exponent = self.denoiser.both(x, sigma)
        return self._guided(clean, x, sigma), exponent

    def _guided(self, clean: Tensor, x: Tensor, sigma: Tensor) -> Tensor:
        value: Tensor = clean + self.weight * (clean - functional_call(self.denoiser, self.weaker, (x, sigma)))
        support = self.denoiser.support if isinstance(self.denoiser, ReverseModel) else None
        return value if support is None else value.clamp(*support)


class Guided:
    """A mixin for neural models with a `denoiser`: it keeps early weights, by which samplers can guide the model."""

    denoiser: nn.Module

    def prepare(self, info: trilemma.DataInfo) -> None:
        super().prepare(info)  # type: ignore[misc]
        self.early = EarlyWeights(self.denoiser)

    def networks(self) -> Iterable[nn.Module]:
        """The denoiser; early weights are evaluated by it too."""
        return (self.denoiser,)

    def before_step(self, ctx: trilemma.Context) -> None:
        """Include the present weights in the early ones between the shares `EARLY` of the schedule.

        In a training of few steps they are at least those of the first step after these shares.
        """
        assert isinstance(self, trilemma.NeuralModel)
        assert ctx.clock is not None
        progress = self.schedule_progress(ctx.clock.progress)
        if EARLY[0] <= progress < EARLY[1] or (progress >= EARLY[1] and not self.early.steps):
            self.early.add(self.denoiser)

    def guided(self, sampler: DenoiserSampler) -> Denoiser:
        """The denoiser of a sampler setting. Raises UnsupportedError if there are no early weights to guide it."""
        weight = sampler.guidance
        if not weight:
            return self.denoiser
        if not self.early.steps:
            raise trilemma.UnsupportedError(
                f"no guidance: the weights that were kept are from the first {EARLY[0]:.0%} of training"
            )
        return GuidedDenoiser(self.denoiser, self.early.weights(), weight)
