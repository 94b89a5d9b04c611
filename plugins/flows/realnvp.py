"""RealNVP: affine coupling layers."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from pydantic import Field
from torch import Tensor, nn

import trilemma
from trilemma.plugins.flows.coupling import Coupling, Permutation
from trilemma.plugins.flows.flow import Bijection, Flow
from trilemma.plugins.flows.transforms import affine
from trilemma.plugins.networks import FourierFeatures, initialise, mlp


class RealNVP(trilemma.NeuralModel):
    """RealNVP (Dinh et al. 2017): affine coupling layers with MLP conditioners on vectors and flattened images."""

    name = "realnvp"
    likelihood = "exact"
    image_space = "logit"
    recipe = trilemma.Recipe(lr=5e-3, batch_size=512, schedule="onecycle", ema=0.998)

    class Config(trilemma.Config):
        """Architecture of the flow."""

        transforms: int = Field(8, ge=2, description="coupling layers")
        hidden: tuple[int, ...] = Field((64, 64), description="widths of the conditioners' hidden layers")
        octaves: int = Field(
            2, ge=0, description="octaves of Fourier features that a conditioner sees of each coordinate"
        )
        bound: float = Field(3.0, gt=0, description="largest absolute log-scale of one layer")
        dropout: float | None = Field(
            None,
            ge=0,
            lt=1,
            description="dropout in the conditioners; by default 0.4 below 100 training points per coordinate, else 0",
        )

    def build(self, info: trilemma.DataInfo) -> None:
        config, d = self.config, info.dim
        if d < 2:
            raise trilemma.UnsupportedError("coupling layers need at least 2 coordinates")
        elementwise = affine(config.bound)
        dropout = config.dropout
        if dropout is None:
            dropout = 0.4 if info.n_train < 100 * d else 0.0
        split = d // 2
        layers: list[Bijection] = []
        for i in range(config.transforms):
            if i % 2 == 0 and i > 0 and d > 2:
                layers.append(Permutation(torch.randperm(d)))
            first_moves = i % 2 == 1
            moved, kept = (split, d - split) if first_moves else (d - split, split)
            features = FourierFeatures(config.octaves)
            net = mlp((features.width(kept), *config.hidden, elementwise.width * moved), dropout)
            initialise(net, last_gain=0.0)
            layers.append(Coupling(split, first_moves, elementwise, nn.Sequential(features, net)))
        self.flow = Flow(layers)

    def networks(self) -> Iterable[nn.Module]:
        return [layer.conditioner for layer in self.flow.chain() if isinstance(layer, Coupling)]

    def loss(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        return -self.flow.log_prob(x).mean()

    @torch.no_grad()
    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        return self.flow.sample(n, ctx.info.dim, ctx.generator)

    @torch.no_grad()
    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        return self.flow.log_prob(x)
