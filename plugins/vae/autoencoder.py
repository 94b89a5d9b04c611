"""The base class of variational autoencoders (Kingma & Welling 2014), with any prior and posterior."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence

import torch
from pydantic import Field
from torch import Tensor, nn

import trilemma

from ..flows.conditioners import Conditioner
from ..flows.flow import Flow
from ..flows.transforms import soft_clip
from ..networks.mlp import FourierFeatures, dropout_for, initialize, mlp
from ..networks.points import standard_normal
from .elbo import Gaussian, divergence_from_prior, importance_bound, log_normal, reparametrize
from .posteriors import PosteriorFlow, PosteriorKind


class GaussianNetwork(nn.Module):
    """A network from inputs `(n, n_in)` to diagonal Gaussians `(n, n_out)`, by an MLP over Fourier features.

    Besides the Gaussian it can give a context `(n, context)` for further networks.
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        hidden: Sequence[int],
        *,
        octaves: int,
        bound: float,
        dropout: float,
        context: int = 0,
    ) -> None:
        super().__init__()
        self.bound = bound
        self.sizes = [n_out, n_out, context]
        self.features = FourierFeatures(octaves)
        self.body = mlp((self.features.width(n_in), *hidden, sum(self.sizes)), dropout)
        initialize(self.body, last_gain=1.0)

    def forward(self, x: Tensor) -> Gaussian:
        return self.with_context(x)[0]

    def with_context(self, x: Tensor) -> tuple[Gaussian, Tensor]:
        """The Gaussian and the context."""
        mean, raw, context = self.body(self.features(x)).split(self.sizes, dim=1)
        return (mean, soft_clip(raw, self.bound)), context


class AutoencoderConfig(trilemma.Config):
    """Architecture of an autoencoder, and the family of its posterior."""

    latent: int = Field(
        16, ge=1, description="latent coordinates; reduced to twice the coordinates of the data if larger"
    )
    hidden: tuple[int, ...] = Field(
        (128, 128),
        description="widths of the encoder's and decoder's hidden layers",
        json_schema_extra={"tune": "[64, 64]|[128, 128]|[128, 128, 128]|[256, 256, 256]"},
    )
    octaves: int = Field(2, ge=0, description="octaves of Fourier features of each coordinate")
    bound: float = Field(
        6.0, gt=0, description="largest absolute logarithm of a standard deviation in encoder and decoder"
    )
    dropout: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="dropout in the networks; by default 0.2 below 100 training points per coordinate, else 0",
    )
    warmup: float = Field(
        0.3, ge=0, lt=1, description="share of the budget over which the weight of the divergence rises from 0 to 1"
    )
    posterior: PosteriorKind = Field(
        "gaussian",
        description="family of q(z | x): 'gaussian' is diagonal; 'planar', 'sylvester' and 'iaf' transform it by a "
        "flow whose parameters depend on x",
    )
    posterior_transforms: int = Field(4, ge=1, description="layers of a flow posterior")
    context: int = Field(32, ge=1, description="width of the encoder's output that a flow posterior depends on")


class Autoencoder(trilemma.NeuralModel):
    """Base class of variational autoencoders. A subclass defines its prior."""

    family = "autoencoder"
    likelihood = "bound"
    image_space = "logit"

    class Config(AutoencoderConfig):
        """Architecture of the autoencoder, and the family of its posterior."""

    class Likelihood(trilemma.Config):
        """How the bound is computed."""

        samples: int = Field(64, ge=1, description="importance samples K; 1 gives the ELBO, more give a tighter bound")

    @abstractmethod
    def make_prior(self, info: trilemma.DataInfo) -> Flow:
        """The prior p(z) on `self.latent` coordinates, for data of the shape in `info`."""

    def build(self, info: trilemma.DataInfo) -> None:
        config, d = self.config, info.dim
        self.latent = min(config.latent, 2 * d)
        self.dropout = dropout_for(info, config.dropout, 0.2)
        options = {"octaves": config.octaves, "bound": config.bound, "dropout": self.dropout}
        context = 0 if config.posterior == "gaussian" else config.context
        self.encoder = GaussianNetwork(d, self.latent, config.hidden, context=context, **options)
        self.posterior = PosteriorFlow(config.posterior, self.latent, context, config.posterior_transforms)
        self.decoder = GaussianNetwork(self.latent, d, config.hidden, **options)
        self.prior = self.make_prior(info)

    def networks(self) -> Iterable[nn.Module]:
        conditioners = [module for module in self.prior.modules() if isinstance(module, Conditioner)]
        return (self.encoder, self.decoder, *conditioners)

    def draw(self, gaussian: Gaussian, context: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw z ~ q(z | x), given what the encoder says of x: `(n, latent)`, with log q(z | x), `(n,)`."""
        start = reparametrize(gaussian, standard_normal(gaussian[0], generator))
        z, logdet = self.posterior(start, context)
        return z, log_normal(start, gaussian) - logdet

    def negative_elbo(self, x: Tensor, weight: float, generator: torch.Generator) -> Tensor:
        """Minus the ELBO at one draw of z, with `weight` on KL(q(z | x) | p(z)).

        The divergence has a closed form if both distributions are Gaussian (Kingma & Welling 2014, eq. 10). Otherwise
        log q(z | x) - log p(z) at the drawn z estimates it (Rezende & Mohamed 2015, eq. 15; Chen et al. 2017, eq. 1).
        """
        gaussian, context = self.encoder.with_context(x)
        z, log_q = self.draw(gaussian, context, generator)
        closed = not len(self.posterior.layers) and not self.prior.parts()
        divergence = divergence_from_prior(gaussian) if closed else log_q - self.prior.log_prob(z)
        return (weight * divergence - log_normal(x, self.decoder(z))).mean()

    def loss(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        """Minus the ELBO, where the weight of the divergence rises in the warm-up (Bowman et al. 2016, section 3.1).

        Without the warm-up, the decoder first explains the data by its own variance, and the latent stays unused.
        """
        progress = 1.0 if ctx.clock is None else ctx.clock.progress
        weight = min(1.0, progress / self.config.warmup) if self.config.warmup else 1.0
        return self.negative_elbo(x, weight, ctx.generator)

    def validation_loss(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        return self.negative_elbo(x, 1.0, ctx.generator)

    @torch.no_grad()
    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        likelihood = self.decoder(self.prior.sample(n, ctx.generator)[0])
        return reparametrize(likelihood, standard_normal(likelihood[0], ctx.generator))

    @torch.no_grad()
    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        """The importance-weighted bound with K = `samples` (Burda et al. 2016, eq. 8)."""
        options = ctx.likelihood
        assert isinstance(options, Autoencoder.Likelihood)
        ctx.details["importance_samples"] = options.samples
        gaussian, context = self.encoder.with_context(x)
        weights = []
        for _ in range(options.samples):
            z, log_q = self.draw(gaussian, context, ctx.generator)
            weights.append(log_normal(x, self.decoder(z)) + self.prior.log_prob(z) - log_q)
        return importance_bound(torch.stack(weights))
