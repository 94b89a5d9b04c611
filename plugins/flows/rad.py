"""A mixture flow with discrete latents: real and discrete (RAD) (Dinh et al. 2019)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

import trilemma

from ..networks.mlp import dropout_for
from .base import Base
from .flow import Bijection, DensityEstimator
from .fused import FusedCouplings, FusedPerceptron
from .fused_maps import fused_affine
from .model import RECIPE, AffineOptions, ConditionedConfig, FlowModel, LayersOptions


class Fold(nn.Module):
    """A piecewise-invertible map that folds the line of one coordinate in three, and the choice of a piece.

    On x < -a, |x| <= a and x > a the map is x + a(1 + b), -b x and x - a(1 + b): continuous, onto the line, and three
    to one where |z| < a b. A gating network gives the probabilities of the pieces there. A piece's share vanishes where
    it ends, so that the density is continuous (Dinh et al. 2019, on boundaries).
    """

    def __init__(self, d: int, coordinate: int, hidden: Sequence[int]) -> None:
        super().__init__()
        self.coordinate = coordinate
        self.log_edge = nn.Parameter(torch.full((), -1.0))
        self.log_slope = nn.Parameter(torch.zeros(()))
        self.gate = FusedPerceptron(d, 1, 3, hidden)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Points `(n, d)` to z and log|det dz/dx| + log p(k | z), with k the piece of each point."""
        edge, slope = self.log_edge.exp(), self.log_slope.exp()
        line = x[:, self.coordinate]
        piece = (line >= -edge).long() + (line > edge).long()
        jump = edge * (1 + slope)
        pieces = torch.stack([line + jump, -slope * line, line - jump])
        z = self._replace(x, pieces.gather(0, piece.unsqueeze(0)).squeeze(0))
        share = self._log_shares(z).gather(0, piece.unsqueeze(0)).squeeze(0)
        return z, share + torch.where(piece == 1, self.log_slope, 0.0)

    def draw(self, z: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """A preimage of each z, its piece drawn from the gate; also what `forward` gives as second for it."""
        edge, slope = self.log_edge.exp(), self.log_slope.exp()
        shares = self._log_shares(z)
        piece = torch.multinomial(shares.exp().T, 1, generator=generator).T
        line, jump = z[:, self.coordinate], edge * (1 + slope)
        pieces = torch.stack([line - jump, -line / slope, line + jump])
        x = self._replace(z, pieces.gather(0, piece).squeeze(0))
        return x, shares.gather(0, piece).squeeze(0) + torch.where(piece[0] == 1, self.log_slope, 0.0)

    def _replace(self, x: Tensor, line: Tensor) -> Tensor:
        before, _, after = x.tensor_split([self.coordinate, self.coordinate + 1], dim=1)
        return torch.cat([before, line.unsqueeze(1), after], dim=1)

    def _log_shares(self, z: Tensor) -> Tensor:
        """log p(k | z), `(3, n)`: outside the fold all on the one piece that reaches there."""
        reach = (self.log_edge + self.log_slope).exp()
        place = (z[:, self.coordinate] / reach + 1) / 2  # 0 where the first piece is alone, 1 where the last is
        inside = place.clamp(1e-6, 1 - 1e-6)
        rise, fall = inside.log(), torch.log1p(-inside)
        shares = F.log_softmax(self.gate(z).squeeze(1) + torch.stack([fall, rise + fall, rise]), dim=0)
        alone = torch.tensor([0.0, -torch.inf, -torch.inf], device=z.device, dtype=z.dtype).unsqueeze(1)
        shares = torch.where(place <= 0, alone, shares)
        return torch.where(place >= 1, alone.flip(0), shares)


class FoldedFlow(DensityEstimator):
    """Flows and folds in turn, from data to a base distribution: p(x) = the base's density at z |det dz/dx| prod p(k |
    z).
    """

    def __init__(self, flows: Sequence[Bijection], folds: Sequence[Fold], base: Base) -> None:
        super().__init__()
        self.first = flows[0]
        self.folds = nn.ModuleList(folds)
        self.chains = nn.ModuleList(flows[1:])
        self.base = base

    def stages(self) -> list[tuple[Fold, Bijection]]:
        """A fold and the flow after it, in order."""
        pairs = zip(self.folds, self.chains, strict=True)
        return [(fold, flow) for fold, flow in pairs if isinstance(fold, Fold) and isinstance(flow, Bijection)]

    def log_prob(self, x: Tensor) -> Tensor:
        """Log-density in nats, shape `(n,)`."""
        x, total = self.first(x)
        for fold, flow in self.stages():
            x, share = fold(x)
            x, logdet = flow(x)
            total = total + share + logdet
        value: Tensor = total + self.base.log_prob(x)
        return value

    def sample(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """`n` points and their log-densities."""
        x = self.base.sample(n, generator)
        log_prob = self.base.log_prob(x)
        for fold, flow in reversed(self.stages()):
            x, logdet = flow.inverse(x)
            x, share = fold.draw(x, generator)
            log_prob = log_prob - logdet + share
        x, logdet = self.first.inverse(x)
        return x, log_prob - logdet

    def initialize(self, x: Tensor) -> None:
        """Nothing depends on the data."""


class RAD(FlowModel):
    """Real and discrete (RAD) mixture flow (Dinh et al. 2019): affine couplings with folds between them."""

    name = "rad"
    recipe = RECIPE

    class Config(AffineOptions, LayersOptions, ConditionedConfig):
        """Architecture of the flow."""

        folds: int = Field(2, ge=1, description="folds, of the coordinates in turn")
        transforms: int = Field(2, ge=2, description="coupling layers before, between and after the folds")

        @model_validator(mode="after")
        def _likelihood_only(self) -> RAD.Config:
            if self.objective != "likelihood":
                raise ValueError("draws of a mixture flow are not differentiable: its objective is the likelihood")
            return self

    def make(self, info: trilemma.DataInfo) -> DensityEstimator:
        config, d = self.config, info.dim
        dropout = dropout_for(info, config.dropout)
        flows = [
            FusedCouplings(
                d, config.transforms, fused_affine(config.bound), config.hidden, octaves=config.octaves, dropout=dropout
            )
            for _ in range(config.folds + 1)
        ]
        folds = [Fold(d, i % d, config.hidden) for i in range(config.folds)]
        return FoldedFlow(flows, folds, self.base(info))
