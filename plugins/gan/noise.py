"""The distribution of a generator's noise: standard normal, or a flow that is trained with the generator."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

import trilemma

from ..flows.flow import Flow
from ..flows.maf import IAF
from ..flows.realnvp import RealNVP


class NoiseConfig(trilemma.Config):
    """The distribution of the generator's noise."""

    noise: Literal["normal", "realnvp", "iaf"] = Field(
        "normal",
        description="distribution of the generator's noise: N(0, I), or a flow from it that is trained with the "
        "generator",
    )
    noise_transforms: int = Field(4, ge=2, description="layers of a flow of the noise")
    noise_hidden: tuple[int, ...] = Field((64, 64), description="widths of the hidden layers of a flow of the noise")

    def wrap(self, generator: nn.Module, coordinates: int) -> nn.Module:
        """The generator, after the flow if there is one, for noise and latents of `coordinates` numbers together."""
        if self.noise == "normal":
            return generator
        options = {
            "transforms": self.noise_transforms,
            "hidden": self.noise_hidden,
            "octaves": 0,
            "dropout": 0.0,
        }
        info = trilemma.DataInfo(name="noise", kind="vector", shape=(coordinates,), n_train=1)
        if self.noise == "iaf":
            return FlowNoiseGenerator(generator, IAF(IAF.Config(**options)).make(info))
        return FlowNoiseGenerator(generator, RealNVP(RealNVP.Config(**options)).make(info))


class FlowNoiseGenerator(nn.Module):
    """G(f(u, z)): a flow f of the noise u and the latent z together, then a generator G.

    At the start f permutes coordinates only, so that the game begins with standard normal noise.
    """

    def __init__(self, generator: nn.Module, flow: Flow) -> None:
        super().__init__()
        self.generator = generator
        self.flow = flow

    def forward(self, u: Tensor, z: Tensor) -> Tensor:
        noise = torch.cat([u.flatten(1), z.flatten(1)], dim=1)
        # The direction from the base distribution to samples takes one pass in both flows.
        made = self.flow.inverse(noise)[0]
        size = u[0].numel()
        value: Tensor = self.generator(made[:, :size].reshape(u.shape), made[:, size:].reshape(z.shape))
        return value
