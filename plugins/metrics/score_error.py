"""The error of a learned score at each noise level, near the data and far from it."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

import trilemma

Array = NDArray[np.float64]


def mixture_score(x: Tensor, *, centers: Tensor, weights: Tensor, covariances: Tensor, sigma: float) -> Tensor:
    """The score grad log p_sigma of a Gaussian mixture smoothed by N(0, sigma^2 I), at `x` (n, d), of the same shape.

    The smoothed distribution is the mixture with covariances C_k + sigma^2 I. Everything is float64. Shapes: `centers`
    (k, d), `weights` (k,), `covariances` (k, d, d).
    """
    noise = sigma**2 * torch.eye(x.shape[1], dtype=torch.float64)
    log_terms, pulls = [], []
    for center, weight, covariance in zip(centers, weights, covariances, strict=True):
        factor = torch.linalg.cholesky(covariance + noise)
        difference = x - center
        pull = torch.cholesky_solve(difference.T, factor).T
        log_terms.append(weight.log() - factor.diagonal().log().sum() - 0.5 * (difference * pull).sum(1))
        pulls.append(pull)
    shares = torch.stack(log_terms).softmax(0)
    score: Tensor = -(shares[:, :, None] * torch.stack(pulls)).sum(0)
    return score


def log_sigma_integral(values: Array, sigmas: Array) -> Array:
    """The integral of `values` (levels, n) over ln(sigma) by the trapezoid rule, shape `(n,)`."""
    steps = np.abs(np.diff(np.log(sigmas)))[:, None]
    integral: Array = (steps * (values[1:] + values[:-1]) / 2).sum(0)
    return integral


class ScoreError(trilemma.Metric):
    """Error of the learned score against the score of the true distribution, over a grid of noise levels.

    It is computed in model space. At each noise level, the Fisher divergence .5 E|s_model - grad log p_sigma|^2 is
    stored twice: with points from p_sigma (`near`), and with points from a broad Gaussian about the data (`far`). Few
    training points lie far from the data, but a sampler that starts there must pass through. `score_error` is the
    integral of sigma^2 E|s_model - grad log p_sigma|^2 over ln(sigma) with points from p_sigma. It is an upper bound of
    what the error of the score adds to the KL divergence when the diffusion dx = sqrt(2 sigma) dw is reversed over
    these levels (Song et al. 2021, "Maximum likelihood training of score-based diffusion models", theorem 1).
    `score_error_far` is the same integral far from the data.

    Raises UnsupportedError for models without a score, and if the true distribution is not a mixture of Gaussians.
    """

    name = "score_error"
    stage = "likelihood"
    quantities = (
        trilemma.Quantity(name="score_error", title="Score error", unit="nats", group="likelihood", place="more"),
        trilemma.Quantity(
            name="score_error_far", title="Score error far away", group="likelihood", place="more", ranks=False
        ),
    )

    class Config(trilemma.Config):
        """The noise levels, and the points."""

        n: int = Field(
            1000, ge=2, description="points at each noise level; all levels share them and scale their noise"
        )
        levels: int = Field(20, ge=2, description="noise levels, evenly spaced in ln(sigma)")
        sigma_min: float = Field(0.02, gt=0, description="smallest noise level, in standard deviations of the data")
        sigma_max: float = Field(50.0, gt=0, description="largest noise level, in standard deviations of the data")
        far: float = Field(3.0, gt=0, description="standard deviation of the Gaussian for points far from the data")

    def compute(self, evaluation: trilemma.Evaluation) -> list[trilemma.Result]:
        modes = evaluation.model_space_modes()
        if modes is None:
            raise trilemma.UnsupportedError(
                f"the score of the true distribution of '{evaluation.dataset.name}' is not known"
            )
        c = self.config
        generator = torch.Generator().manual_seed(0)
        shape = (c.n, modes.centers.shape[1])
        labels = torch.multinomial(modes.weights, c.n, replacement=True, generator=generator)
        z, noise, away = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(3))
        factors = torch.linalg.cholesky(modes.covariances)
        x0 = modes.centers[labels] + torch.einsum("nij,nj->ni", factors[labels], z)
        sigmas = np.geomspace(c.sigma_min, c.sigma_max, c.levels)
        curves: dict[str, list[Array]] = {"near": [], "far": []}
        for sigma in map(float, sigmas):
            for name, x in (("near", x0 + sigma * noise), ("far", math.sqrt(c.far**2 + sigma**2) * away)):
                true = mixture_score(
                    x, centers=modes.centers, weights=modes.weights, covariances=modes.covariances, sigma=sigma
                )
                found = evaluation.score(x.reshape(c.n, *evaluation.info.shape), sigma).flatten(1)
                curves[name].append((found - true).square().sum(1).numpy())
        squared = {name: np.stack(values) for name, values in curves.items()}
        details = {
            "sigma": sigmas.tolist(),
            "fisher_near": (squared["near"].mean(1) / 2).tolist(),
            "fisher_far": (squared["far"].mean(1) / 2).tolist(),
            "far": c.far,
            "space": "model",
        }
        near, far = self.quantities
        return [
            self._result(near, squared["near"], sigmas, details, evaluation.dim),
            self._result(far, squared["far"], sigmas, details, evaluation.dim),
        ]

    def _result(
        self, quantity: trilemma.Quantity, squared: Array, sigmas: Array, details: dict[str, object], dim: int
    ) -> trilemma.Result:
        integrals = log_sigma_integral(squared * sigmas[:, None] ** 2, sigmas)
        value, low, high = trilemma.mean_interval(integrals)
        return quantity.result(value, dim, low=low, high=high, floor=0.0, n=self.config.n, details=details)
