"""RAD, a mixture flow with real and discrete latent variables (Dinh et al. 2019)."""

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
    """A map that is invertible on each of three pieces of one coordinate, with a random choice of the piece.

    On the pieces x < -a, |x| <= a and x > a the map is z = x + a(1 + b), z = -b x and z = x - a(1 + b). It is
    continuous and onto, and each z with |z| < a b has three preimages. A gating network gives the probabilities of the
    pieces for these z. The probability of a piece vanishes where the piece ends, so that the density is continuous
    (Dinh et al. 2019, on boundaries).
    """

    def __init__(self, d: int, coordinate: int, hidden: Sequence[int]) -> None:
        super().__init__()
        self.coordinate = coordinate
        self.log_edge = nn.Parameter(torch.full((), -1.0))
        self.log_slope = nn.Parameter(torch.zeros(()))
        self.gate = FusedPerceptron(d, 1, 3, hidden)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """z, `(n, d)`, and log|det dz/dx| + log p(k | z), `(n,)`, for points `(n, d)`. k is the piece of a point."""
        edge, slope = self.log_edge.exp(), self.log_slope.exp()
        line = x[:, self.coordinate]
        piece = (line >= -edge).long() + (line > edge).long()
        jump = edge * (1 + slope)
        pieces = torch.stack([line + jump, -slope * line, line - jump])
        z = self._replace(x, pieces.gather(0, piece.unsqueeze(0)).squeeze(0))
        share = self._log_shares(z, of=piece).gather(0, piece.unsqueeze(0)).squeeze(0)
        return z, share + torch.where(piece == 1, self.log_slope, 0.0)

    def draw(self, z: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """A preimage of each z, on a piece drawn from the gate, and the second output of `forward` for it."""
        edge, slope = self.log_edge.exp(), self.log_slope.exp()
        shares = self._log_shares(z)
        # The strides matter: torch 2.4 gathers wrong with a transposed column as index.
        piece = torch.multinomial(shares.exp().T, 1, generator=generator).squeeze(1).unsqueeze(0)
        line, jump = z[:, self.coordinate], edge * (1 + slope)
        pieces = torch.stack([line - jump, -line / slope, line + jump])
        x = self._replace(z, pieces.gather(0, piece).squeeze(0))
        return x, shares.gather(0, piece).squeeze(0) + torch.where(piece[0] == 1, self.log_slope, 0.0)

    def _replace(self, x: Tensor, line: Tensor) -> Tensor:
        before, _, after = x.tensor_split([self.coordinate, self.coordinate + 1], dim=1)
        return torch.cat([before, line.unsqueeze(1), after], dim=1)

    def _log_shares(self, z: Tensor, of: Tensor | None = None) -> Tensor:
        """log p(k | z), `(3, n)`. Outside of the fold, one piece has probability 1.

        `of`, `(n,)`, are the pieces from which z came. A point at the end of its piece may be rounded out of the fold,
        where its piece has probability 0; it counts as inside.
        """
        reach = (self.log_edge + self.log_slope).exp()
        place = (z[:, self.coordinate] / reach + 1) / 2  # 0 where the first piece is alone, 1 where the last is
        inside = place.clamp(1e-6, 1 - 1e-6)
        rise, fall = inside.log(), torch.log1p(-inside)
        shares = F.log_softmax(self.gate(z).squeeze(1) + torch.stack([fall, rise + fall, rise]), dim=0)
        alone = torch.tensor([0.0, -torch.inf, -torch.inf], device=z.device, dtype=z.dtype).unsqueeze(1)
        below, above = place <= 0, place >= 1
        if of is not None:
            below, above = below & (of == 0), above & (of == 2)
        return torch.where(above, alone.flip(0), torch.where(below, alone, shares))


class FoldedFlow(DensityEstimator):
    """Flows and folds in turn, from data to a base distribution.

    The density is p(x) = p_z(z) |det dz/dx| times the product over the folds of p(k | z).
    """

    def __init__(self, flows: Sequence[Bijection], folds: Sequence[Fold], base: Base) -> None:
        super().__init__()
        self.first = flows[0]
        self.folds = nn.ModuleList(folds)
        self.chains = nn.ModuleList(flows[1:])
        self.base = base

    def stages(self) -> list[tuple[Fold, Bijection]]:
        """Each fold with the flow after it, in order."""
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
        """Do nothing: the initialization does not depend on the data."""


class RAD(FlowModel):
    """Real and discrete (RAD) mixture flow (Dinh et al. 2019), with folds between affine couplings.

    Deviations: one kind of piecewise invertible map, a fold of one coordinate into three pieces; the gate is an MLP
    times factors that vanish at the boundaries; the couplings are those of `realnvp`.
    """

    name = "rad"
    recipe = RECIPE

    class Config(AffineOptions, LayersOptions, ConditionedConfig):
        """Options of the architecture."""

        folds: int = Field(2, ge=1, description="number of folds; they fold the coordinates in turn")
        transforms: int = Field(2, ge=2, description="number of coupling layers before the first and after each fold")

        @model_validator(mode="after")
        def _likelihood_only(self) -> RAD.Config:
            if self.trains_on_truth():
                raise ValueError("samples of a mixture flow are not differentiable: set objective to likelihood")
            if self.objective == "regularized" and self.regularizer == "jacobian":
                raise ValueError("a mixture flow has no Jacobian: set regularizer to prior")
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
