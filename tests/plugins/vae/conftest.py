"""What the tests of variational autoencoders share: a linear decoder, under which the density of x is known."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

import trilemma
from trilemma.plugins.vae.autoencoder import GaussianNetwork
from trilemma.plugins.vae.vae import Vae

SHIFT = torch.tensor([0.3, -0.2, 0.0, 1.0])
DEVIATION = 0.5


def make_context(d: int = 2, **fields: object) -> trilemma.Context:
    info = trilemma.DataInfo(name="toy", kind="vector", shape=(d,), n_train=4_000)
    fields.setdefault("likelihood", Vae.Likelihood())
    return trilemma.Context(info=info, device=torch.device("cpu"), generator=torch.Generator().manual_seed(3), **fields)  # type: ignore[arg-type]


@pytest.fixture
def context() -> Callable[..., trilemma.Context]:
    """What a model is handed on points of d coordinates: `context(d=2, **fields)`."""
    return make_context


def fill(network: GaussianNetwork, weight: Tensor, bias: Tensor, log_deviation: Tensor) -> None:
    """Make the network the Gaussian of mean `weight` x + `bias` and a constant deviation."""
    (layer,) = network.body
    assert isinstance(layer, nn.Linear)
    raw = log_deviation / (1 - log_deviation.abs() / network.bound)
    n = 2 * len(bias)
    with torch.no_grad():
        layer.weight[:n] = torch.cat([weight, torch.zeros_like(weight)])
        layer.bias[:n] = torch.cat([bias, raw])


@pytest.fixture
def linear() -> Callable[..., Vae]:
    """The VAE with the decoder x = W z + b + .5 n: `linear(weight, off, wider=0, **options)`.

    Its encoder has the best diagonal posterior, whose means are moved by `off` and log-deviations by `wider`.
    """

    def make(weight: Tensor, off: float, wider: float = 0.0, **options: object) -> Vae:
        torch.manual_seed(0)
        model = Vae(Vae.Config(latent=2, hidden=(), octaves=0, **options))  # type: ignore[arg-type]
        model.build(make_context(4).info)
        fill(model.decoder, weight, SHIFT, torch.full((4,), math.log(DEVIATION)))
        precision = torch.eye(2) + weight.T @ weight / DEVIATION**2
        gain = torch.linalg.solve(precision, weight.T / DEVIATION**2)
        fill(model.encoder, gain, -gain @ SHIFT + off, wider - 0.5 * precision.diagonal().log())
        return model

    return make


@pytest.fixture
def points_and_density() -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """Points of that decoder, and their log-densities: x has the distribution N(b, W W^T + .25 I)."""

    def make(weight: Tensor) -> tuple[Tensor, Tensor]:
        distribution = MultivariateNormal(SHIFT, weight @ weight.T + DEVIATION**2 * torch.eye(4))
        noise = torch.randn((400, 6), generator=torch.Generator().manual_seed(1))
        x = noise[:, :2] @ weight.T + SHIFT + DEVIATION * noise[:, 2:]
        return x, distribution.log_prob(x)  # type: ignore[no-untyped-call]

    return make
