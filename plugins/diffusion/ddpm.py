"""DDPM (Ho et al. 2020), with the objectives and the learned variance of Improved DDPM (Nichol & Dhariwal 2021)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

import trilemma

from ..networks.mlp import MLPConfig
from ..networks.points import ROWS, per_point, standard_normal, stratified
from .autoguidance import Guided
from .bounds import Bound, discrete_bound
from .ddpm_samplers import StridedAncestral, StridedDdim
from .denoiser import PARAMETRIZATIONS
from .model import Denoising
from .reverse_chain import ReverseChain, ReverseModel, Variance
from .schedules import DiscreteCosine, DiscreteDiffusion, DiscreteVariancePreserving


class BoundLikelihood(trilemma.Config):
    """Options of the variational bound."""

    variance: Variance = Field(
        "model",
        description="variance of a step: model is the variance of the model's options, small that of the posterior, "
        "large that of the forward step",
    )
    draws: int = Field(1, ge=1, description="draws of the noise at every noise level; the bound is averaged over them")
    sampled_steps: int | None = Field(
        None,
        ge=1,
        description="number of steps of the chain, drawn for each point, by whose terms the bound is estimated without "
        "bias; by default all",
    )


class ChainOptions(trilemma.Config):
    """Options of the chain of noise levels, of the reverse chain and of the loss."""

    steps: int = Field(100, ge=2, description="number of steps T of the chain")
    schedule: Literal["linear", "cosine"] = Field(
        "linear",
        description="noise schedule: linear has betas that rise linearly, as in DDPM; cosine has more low noise levels "
        "(Improved DDPM)",
    )
    beta_min: float = Field(0.1, gt=0, description="for linear: beta of the first step, times T")
    beta_max: float = Field(20.0, gt=0, description="for linear: beta of the last step, times T")
    parametrization: Literal["karras", "noise"] = Field(
        "noise",
        description="what the network predicts: noise is the noise, as in the paper; karras is the preconditioned "
        "network of EDM",
    )
    variance: Literal["small", "large", "learned"] = Field(
        "large",
        description="variance of a reverse step: small is that of the posterior, large that of the forward step, and "
        "learned lies between them, as the network says (Improved DDPM)",
    )
    objective: Literal["simple", "vlb", "hybrid"] = Field(
        "simple",
        description="loss: simple is the squared error of the noise, vlb the variational bound, and hybrid simple plus "
        "vlb_weight times vlb, which trains only the variance (Improved DDPM)",
    )
    vlb_weight: float = Field(1e-3, gt=0, description="weight of the bound in the objective hybrid")

    def chain(self) -> DiscreteDiffusion:
        """The chain of noise levels."""
        if self.schedule == "cosine":
            return DiscreteCosine(self.steps)
        return DiscreteVariancePreserving(self.beta_min, self.beta_max, self.steps)

    @model_validator(mode="after")
    def _is_a_chain(self) -> ChainOptions:
        if self.schedule == "linear" and not self.beta_min <= self.beta_max < self.steps:
            raise ValueError("beta rises from beta_min / steps to beta_max / steps, which must be below 1")
        return self

    @model_validator(mode="after")
    def _trains_the_variance(self) -> ChainOptions:
        if (self.variance == "learned") < (self.objective == "hybrid"):
            raise ValueError("the objective 'hybrid' trains the variance: use variance = 'learned'")
        if (self.variance == "learned") > (self.objective != "simple"):
            raise ValueError("the objective 'simple' does not train the variance: use 'vlb' or 'hybrid'")
        return self


def chain_loss(
    model: ReverseModel,
    x: Tensor,
    sigmas: Tensor,
    generator: torch.Generator,
    *,
    objective: Literal["simple", "vlb", "hybrid"] = "simple",
    vlb_weight: float = 1e-3,
) -> Tensor:
    """The loss of DDPM at noise levels drawn uniformly from `sigmas`, a mean over points and coordinates.

    `simple` is L_simple, the squared error of the predicted noise (Ho et al. 2020, eq. 14). `vlb` is the variational
    bound (eq. 5) without its constant term L_T, in nats, estimated as T times one of its terms. `hybrid` is
    L_simple + `vlb_weight` L_vlb, where no gradient flows from L_vlb to the mean (Nichol & Dhariwal 2021, eq. 16). The
    noise levels of a batch are stratified.
    """
    step = (stratified(len(x), generator) * len(sigmas)).long()
    sigma = sigmas.to(x.device)[step].to(x)
    s = per_point(sigma, x)
    clean, exponent = model.unclipped(x + s * standard_normal(x, generator), sigma)
    error = ((clean - x) / s).square()
    if objective == "simple":
        return error.mean()
    chain, steps = ReverseChain(sigmas.to(x.device)), step.reshape(s.shape)
    fixed = error.detach() if objective == "hybrid" else error
    bound = len(sigmas) * chain.terms(fixed, steps, exponent).mean()
    return error.mean() + vlb_weight * bound if objective == "hybrid" else bound


class Ddpm(Denoising, Guided, trilemma.NeuralModel):
    """Denoising diffusion probabilistic model, DDPM (Ho et al. 2020), with an MLP on vectors.

    The objective `simple` with the variance `large` and the schedule `linear` is that of the paper. `hybrid` with
    `learned` and `cosine` is Improved DDPM (Nichol & Dhariwal 2021). The likelihood is the variational bound, with the
    variance of the model.

    Deviations: T is 100 instead of 1,000. The network sees ln(sigma)/4 in place of the time, and the noise levels of a
    batch are stratified. The estimate of x_0 is clipped to the range of intensities for images alone,
    because standardized vectors have no bounds. The data is continuous, so that the last step is a normal density, not
    one that is integrated over intensity levels (Ho et al. 2020, eq. 13). Its variance is beta_1 if variances are
    `large`, where the public code has the posterior's variance of the second step. Of Improved DDPM, the importance
    sampling of noise levels is not there, learned variances start at `large`, and the bound in `hybrid` is in nats as
    in the paper, not in bits as in its code.
    """

    name = "ddpm"
    likelihood = "bound"
    samplers = (StridedAncestral, StridedDdim)
    diffusion: DiscreteDiffusion
    denoiser: ReverseModel

    class Config(ChainOptions, MLPConfig):
        """Options of the network, of the chain of noise levels and of the loss."""

    class Likelihood(BoundLikelihood):
        """Options of the variational bound."""

    def build(self, info: trilemma.DataInfo) -> None:
        config = self.config
        self.diffusion = config.chain()
        channels, learned = info.shape[0], config.variance == "learned"
        network = config.network(info, 2 * channels if learned else channels)
        if learned:  # the exponents of all variances start at 1, without the spread of random weights
            nn.init.zeros_(network.last.weight[channels:])
        mean = PARAMETRIZATIONS[config.parametrization](network)
        self.denoiser = ReverseModel(mean, config.variance, info.support)

    def networks(self) -> Iterable[nn.Module]:
        return (self.denoiser.mean.network,)

    def loss(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        """`chain_loss` with the objective of the options."""
        config, sigmas = self.config, self.diffusion.noise_levels()
        options = {"objective": config.objective, "vlb_weight": config.vlb_weight}
        return chain_loss(self.denoiser, x, sigmas, ctx.generator, **options)

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        """The variational bound (Ho et al. 2020, eq. 5), shape `(n,)`.

        The means of its terms L_T, L_1:T-1 and L_0 are in the details.
        """
        options, sigmas = ctx.likelihood, self.diffusion.noise_levels()
        assert isinstance(options, BoundLikelihood)
        parts = []
        for part in torch.split(x, ROWS):
            bounds = [
                discrete_bound(
                    self.denoiser, part, sigmas, ctx.generator, options.variance, sampled_steps=options.sampled_steps
                )
                for _ in range(options.draws)
            ]
            parts.append(torch.stack([torch.stack([b.prior, b.diffusion, b.reconstruction]) for b in bounds]).mean(0))
        bound = Bound(*torch.cat(parts, dim=1))
        ctx.details.update({"steps": self.config.steps, "terms": bound.means()})
        return bound.total
