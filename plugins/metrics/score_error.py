"""The error of a learned score at each noise level, near the data and far from it."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

import trilemma

from .drawings.fields import rows
from .drawings.histograms import shortened

Array = NDArray[np.float64]

_SAME = 1e-3
"""Relative difference of noise levels up to which they count as the same."""
ARROWS = 16
"""Arrows along each side of a picture of the score."""


def mixture_score(x: Tensor, *, centers: Tensor, weights: Tensor, covariances: Tensor, sigma: float) -> Tensor:
    """The score grad log p_sigma of a Gaussian mixture smoothed by N(0, sigma^2 I), at `x` (n, d), of the same shape.

    The smoothed distribution is the mixture with covariances C_k + sigma^2 I. Everything is float64. Shapes: `centers`
    (k, d), `weights` (k,), `covariances` (k, d, d).
    """
    log_terms, pulls = _terms(x, centers, weights, covariances, sigma)
    score: Tensor = -(log_terms.softmax(0)[:, :, None] * pulls).sum(0)
    return score


def mixture_log_density(x: Tensor, *, centers: Tensor, weights: Tensor, covariances: Tensor, sigma: float) -> Tensor:
    """log p_sigma of the distribution of `mixture_score` at `x` (n, d), in nats, shape `(n,)`."""
    log_terms = _terms(x, centers, weights, covariances, sigma)[0]
    return log_terms.logsumexp(0) - 0.5 * x.shape[1] * math.log(2 * math.pi)


def _terms(x: Tensor, centers: Tensor, weights: Tensor, covariances: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
    """log(w_k N_k(x)) + d ln(2 pi) / 2 of each component, (k, n), and (C_k + sigma^2 I)^-1 (x - m_k), (k, n, d)."""
    noise = sigma**2 * torch.eye(x.shape[1], dtype=torch.float64)
    log_terms, pulls = [], []
    for center, weight, covariance in zip(centers, weights, covariances, strict=True):
        factor = torch.linalg.cholesky(covariance + noise)
        difference = x - center
        pull = torch.cholesky_solve(difference.T, factor).T
        log_terms.append(weight.log() - factor.diagonal().log().sum() - 0.5 * (difference * pull).sum(1))
        pulls.append(pull)
    return torch.stack(log_terms), torch.stack(pulls)


def log_sigma_integral(values: Array, sigmas: Array) -> Array:
    """The integral of `values` (levels, n) over ln(sigma) by the trapezoid rule, shape `(n,)`."""
    steps = np.abs(np.diff(np.log(sigmas)))[:, None]
    integral: Array = (steps * (values[1:] + values[:-1]) / 2).sum(0)
    return integral


def ratio_interval(errors: Array, sizes: Array) -> tuple[float, float | None, float | None]:
    """The ratio E[errors] / E[sizes] of paired numbers, with its 95 % interval by the delta method."""
    ratio = float(errors.mean() / sizes.mean())
    _, low, high = trilemma.mean_interval(ratio + (errors - ratio * sizes) / sizes.mean())
    return ratio, low, high


class ScoreError(trilemma.Metric):
    """Error of the learned score against the score of the true distribution, near the data and far from it.

    It is computed in model space, with points from p_sigma (near) and with points from a broad Gaussian about the data
    (far). Few training points lie far from the data, but a sampler that starts there must pass through.

    `relative_score_error` is E|s_model - grad log p_sigma|^2 / E|grad log p_sigma|^2 at one noise level: the option
    `sigma`, or the nearest level at which the model has learned its score. It is 1 for a score
    of zero. `relative_score_error_far` is the same far from the data. In two dimensions the details hold a map of the
    error, which a report draws (Song & Ermon 2019, figure 2).

    Over a grid of noise levels, `score_error` is the integral of sigma^2 E|s_model - grad log p_sigma|^2 over ln(sigma)
    with points from p_sigma. It is an upper bound of what the error of the score adds to the KL divergence when the
    diffusion dx = sqrt(2 sigma) dw is reversed over these levels (Song et al. 2021, "Maximum likelihood training of
    score-based diffusion models", theorem 1). `score_error_far` is the same integral far from the data. The details
    hold the Fisher divergence .5 E|s_model - grad log p_sigma|^2 at each level. A model that has not learned its score
    over all of the grid has no integrals, because a shorter one would win by what it leaves out: to compare such
    models, set `sigma_min` and `sigma_max` to noise levels that all of them know.

    Raises UnsupportedError for models without a score, and if the true distribution is not a mixture of Gaussians.
    """

    name = "score_error"
    stage = "likelihood"
    quantities = (
        trilemma.Quantity(name="score_error", title="Score error", unit="nats", group="likelihood", place="more"),
        trilemma.Quantity(
            name="score_error_far", title="Score error far away", group="likelihood", place="more", ranks=False
        ),
        trilemma.Quantity(
            name="relative_score_error",
            title="Relative score error",
            group="likelihood",
            place="more",
            ranks=False,
            least=0,
        ),
        trilemma.Quantity(
            name="relative_score_error_far",
            title="Relative score error far away",
            group="likelihood",
            place="more",
            ranks=False,
            least=0,
        ),
    )

    class Config(trilemma.Config):
        """The noise levels, and the points."""

        n: int = Field(
            1000, ge=2, description="points at each noise level; all levels share them and scale their noise"
        )
        levels: int = Field(20, ge=2, description="noise levels, evenly spaced in ln(sigma)")
        sigma_min: float = Field(0.04, gt=0, description="smallest noise level, in standard deviations of the data")
        sigma_max: float = Field(40.0, gt=0, description="largest noise level, in standard deviations of the data")
        sigma: float = Field(
            0.1, gt=0, description="noise level of the relative errors and of the map, or the nearest known one"
        )
        far: float = Field(3.0, gt=0, description="standard deviation of the Gaussian for points far from the data")
        side: int = Field(32, ge=2, description="points along each side of the map")

    def compute(self, evaluation: trilemma.Evaluation) -> list[trilemma.Result]:
        modes = evaluation.model_space_modes()
        if modes is None:
            raise trilemma.UnsupportedError(
                f"the score of the true distribution of '{evaluation.dataset.name}' is not known"
            )
        comparison = _Comparison(evaluation, modes, self.config)
        c, (lowest, largest) = self.config, evaluation.score_levels()
        whole = lowest <= c.sigma_min * (1 + _SAME) and largest >= c.sigma_max * (1 - _SAME)
        results = self._integrals(comparison) if whole else []
        return [*results, *self._relative(comparison, min(max(c.sigma, lowest), largest))]

    def _integrals(self, comparison: _Comparison) -> list[trilemma.Result]:
        c = self.config
        sigmas = np.geomspace(c.sigma_min, c.sigma_max, c.levels)
        found = [comparison.errors(float(sigma)) for sigma in sigmas]
        squared = {name: np.stack([level[name][0] for level in found]) for name in ("near", "far")}
        details = {
            "sigma": sigmas.tolist(),
            "fisher_near": (squared["near"].mean(1) / 2).tolist(),
            "fisher_far": (squared["far"].mean(1) / 2).tolist(),
            "far": c.far,
            "space": "model",
        }
        results = []
        for quantity, name in zip(self.quantities[:2], ("near", "far"), strict=True):
            integrals = log_sigma_integral(squared[name] * sigmas[:, None] ** 2, sigmas)
            value, low, high = trilemma.mean_interval(integrals)
            dim = comparison.evaluation.dim
            results.append(quantity.result(value, dim, low=low, high=high, floor=0.0, n=c.n, details=details))
        return results

    def _relative(self, comparison: _Comparison, sigma: float) -> list[trilemma.Result]:
        details: dict[str, object] = {"sigma": sigma, "far": self.config.far, "space": "model"}
        if sigma != self.config.sigma:
            details["conditions"] = f"noise level {sigma:.3g}"
        results: list[trilemma.Result] = []
        for quantity, (errors, sizes) in zip(self.quantities[2:], comparison.errors(sigma).values(), strict=True):
            value, low, high = ratio_interval(errors, sizes)
            dim = comparison.evaluation.dim
            if not results and comparison.evaluation.info.shape == (2,):
                details |= {"map": comparison.map(sigma), "field": comparison.field(sigma)}
            results.append(
                quantity.result(value, dim, low=low, high=high, floor=0.0, n=self.config.n, details=dict(details))
            )
            details = {key: value for key, value in details.items() if key not in ("map", "field")}
        return results


class _Comparison:
    """The score of a model beside that of the true distribution, at points that all noise levels share."""

    def __init__(self, evaluation: trilemma.Evaluation, modes: trilemma.Modes, config: ScoreError.Config) -> None:
        self.evaluation, self.config = evaluation, config
        self.mixture = {"centers": modes.centers, "weights": modes.weights, "covariances": modes.covariances}
        generator = torch.Generator().manual_seed(0)
        shape = (config.n, modes.centers.shape[1])
        labels = torch.multinomial(modes.weights, config.n, replacement=True, generator=generator)
        z, self.noise, self.away = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(3))
        factors = torch.linalg.cholesky(modes.covariances)
        self.clean = modes.centers[labels] + torch.einsum("nij,nj->ni", factors[labels], z)

    def errors(self, sigma: float) -> dict[str, tuple[Array, Array]]:
        """|s_model - grad log p_sigma|^2 and |grad log p_sigma|^2 at each point, each `(n,)`, near and far."""
        far = math.sqrt(self.config.far**2 + sigma**2) * self.away
        return {name: self._at(x, sigma) for name, x in (("near", self.clean + sigma * self.noise), ("far", far))}

    def _at(self, x: Tensor, sigma: float) -> tuple[Array, Array]:
        true = mixture_score(x, **self.mixture, sigma=sigma)
        found = self.evaluation.score(x.reshape(-1, *self.evaluation.info.shape), sigma).flatten(1)
        return (found - true).square().sum(1).numpy(), true.square().sum(1).numpy()

    def map(self, sigma: float) -> dict[str, object]:
        """The relative error |s_model - grad log p_sigma| / max(|grad log p_sigma|, 1) on a grid about the data."""
        axes, x = self._plane(sigma, self.config.side)
        squared, sizes = self._at(x, sigma)
        error = np.sqrt(squared / np.maximum(sizes, 1)).reshape(self.config.side, -1).T
        return {
            **self._grid(axes, x, sigma),
            "values": rows(error),
            "title": f"Relative error of the score at noise level {sigma:g}",
            "reading": (
                f"Color is the error |s - s*| of the learned score s at noise level {sigma:g}, divided by the size of "
                "the true score s*, or by 1 where that is smaller. The lines hold 50 % and 99 % of the data, in model "
                "space. A score that is learned from data is right inside the lines and wrong outside, where there are "
                "hardly any training points; a sampler that starts outside follows the wrong score."
            ),
        }

    def field(self, sigma: float) -> dict[str, object]:
        """The learned and the true score as arrows on a coarse grid about the data."""
        axes, x = self._plane(sigma, ARROWS)
        true = mixture_score(x, **self.mixture, sigma=sigma)
        found = self.evaluation.score(x, sigma)
        typical = true.norm(dim=1).median()
        return {
            **_axes(axes),
            "arrows": [
                {
                    "title": title,
                    **{name: rows(part[:, i].reshape(ARROWS, -1).T.numpy()) for i, name in enumerate("uv")},
                }
                for title, part in (
                    ("learned score", _bounded(found, typical)),
                    ("true score", _bounded(true, typical)),
                )
            ],
            "title": f"Score at noise level {sigma:g}",
            "reading": (
                f"Arrows are the score at noise level {sigma:g}, in model space: the direction in which a sampler "
                "moves points. Their length grows with the score and is bounded, so that all can be seen. Where the "
                "learned score is right, its arrows lie on the gray ones of the true score."
            ),
        }

    def _plane(self, sigma: float, side: int) -> tuple[list[Tensor], Tensor]:
        """The two axes of a grid about the data, and its points, column by column."""
        reach = 4 * float((self.mixture["covariances"].diagonal(dim1=1, dim2=2).amax() + sigma**2).sqrt())
        low, high = self.mixture["centers"].amin(0) - reach, self.mixture["centers"].amax(0) + reach
        ramp = torch.linspace(0, 1, side, dtype=torch.float64)
        axes = [low[i] + (high[i] - low[i]) * ramp for i in range(2)]
        return axes, torch.cartesian_prod(*axes)

    def _grid(self, axes: list[Tensor], x: Tensor, sigma: float) -> dict[str, object]:
        """The axes of a drawing, and the density of the data over them."""
        density = mixture_log_density(x, **self.mixture, sigma=sigma).numpy().reshape(len(axes[0]), -1).T
        return {
            **_axes(axes),
            "log_density": rows(density - density.max()),
        }


def _axes(axes: list[Tensor]) -> dict[str, list[float]]:
    return {name: [shortened(value) for value in axis.tolist()] for name, axis in zip("xy", axes, strict=True)}


def _bounded(score: Tensor, typical: Tensor) -> Tensor:
    """Arrows along a score (n, 2) that are shorter than 1; one of `typical` length is 1/2 long."""
    bounded: Tensor = score / (score.norm(dim=1, keepdim=True) + typical)
    return bounded
