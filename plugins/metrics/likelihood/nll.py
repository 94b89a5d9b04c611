"""Negative log-likelihood of test points, its gap to the entropy, and its gap to the NLL of training points."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

import trilemma

from ..drawings.fields import density_map
from ..drawings.histograms import histogram, span
from .conditions import base, conditions, dequantization
from .density_checks import IMPOSSIBLE, density_marks, least_nll
from .mass import Mass, Untold, excess_marks, mass_of

Array = NDArray[np.float64]
Interval = tuple[float, float | None, float | None]


def mean_nll(log_prob: Array) -> Interval:
    """Mean of `-log_prob` and its t-interval; `(inf, None, None)` if the density is 0 at a point."""
    if np.isneginf(log_prob).any():
        return math.inf, None, None
    return trilemma.mean_interval(-log_prob)


def gap_to_entropy(*, log_prob: Array, true_log_prob: Array) -> Interval:
    """E[log p - log q], the Kullback-Leibler divergence KL(p | q) in nats, with its paired t-interval.

    Both arrays `(n,)` hold log-densities at the same points, drawn from p. The choice of points changes both terms
    alike, so the difference has less variance than an NLL.
    """
    return mean_nll(log_prob - true_log_prob)


BLOCKS = 32


def block_means(log_prob: Array, scale: float = 1.0) -> dict[str, list[float]]:
    """The means of `-scale log_prob` over up to `BLOCKS` consecutive blocks of the points, for the details of a result.

    From them, two likelihoods at the same points have a paired interval (the method of batch means). There are none for
    fewer than 8 points, or if the density is 0 at a point.
    """
    blocks = min(BLOCKS, len(log_prob) // 2)
    if blocks < 4 or np.isneginf(log_prob).any():
        return {}
    return {"block_means": [round(-scale * float(part.mean()), 7) for part in np.array_split(log_prob, blocks)]}


ROUNDING = 1e-4  # nats: the error of a mean log-density in single precision
NOT_TOLD = "mass not told, so a map may be no density"
MEMORIZES = "memorizes: training points are far more likely than test points"
GAP_PER_COORDINATE = 0.05  # nats per coordinate: a larger generalization gap is noted in the details
MARKED_GAP = 0.5  # nats per coordinate: a larger one is a mark; networks that overfit a small dataset stay below it


def generalization_gap(*, test: Array, train: Array) -> Interval:
    """Mean NLL of test points minus mean NLL of training points, with Welch's interval, from log-densities `(n,)`.

    If a training point has a density of 0, the points with a density above 0 are compared: they may be memorized.
    """
    if np.isneginf(train).any():
        test, train = (values[~np.isneginf(values)] for values in (test, train))
    if len(test) == 0 or np.isneginf(test).any():
        return math.inf, None, None
    value = float(train.mean() - test.mean())
    if min(len(test), len(train)) < 2 or (np.ptp(test) == 0 and np.ptp(train) == 0):
        return value, None, None
    from scipy import stats

    interval = stats.ttest_ind(train, test, equal_var=False).confidence_interval(0.95)
    return value, float(interval.low), float(interval.high)


class Nll(trilemma.Metric):
    """Negative log-likelihood of test points, in nats for vectors and in bits per dimension for images.

    `nll_gap` is the NLL minus the entropy, as a paired difference, where the true density is known. `mass` is the
    integral of the density, for vectors of few coordinates. `generalization_gap` is the NLL of test points minus the
    NLL of training points; it is large for a model that has memorized the training points. The likelihood kind is part
    of each result. The details hold the base measure of the density (`base`), how it was computed (`conditions`), and
    means over blocks of the test points (`block_means`), by which two models are compared at the same points.

    A likelihood is marked if it cannot be one of a probability density: its gap is below 0, its mass is not 1, it is
    constant, it changes from call to call or with the other points of a batch, or the NLL of images is lower than that
    of any distribution. One of kind `map` is a density only where its mass is 1, so it is also marked if its mass is
    not told. Every kind is marked if the model has memorized the training points.
    """

    name = "nll"
    stage = "likelihood"
    quantities = (
        trilemma.Quantity(name="nll", title="NLL", unit="nats", group="likelihood", place="first"),
        trilemma.Quantity(
            name="nll_gap", title="NLL − entropy", unit="nats", group="likelihood", place="first", least=0.0
        ),
        trilemma.Quantity(name="mass", title="Mass", group="likelihood", better="none"),
        trilemma.Quantity(
            name="generalization_gap", title="Generalization gap", unit="nats", group="likelihood", better="none"
        ),
    )

    class Config(trilemma.Config):
        """Sizes of the point sets."""

        n: int = Field(2000, ge=2, description="test points, and training points for the generalization gap")
        mass_points: int = Field(
            4000,
            ge=0,
            description="points at which the density is computed for its mass, and eight times as many if few of them "
            "count; 0 gives no mass",
        )
        side: int = Field(
            36, ge=0, description="points along each side of the map of the density in two dimensions; 0 gives no map"
        )

    def compute(self, evaluation: trilemma.Evaluation) -> list[trilemma.Result]:
        """Raises UnsupportedError for models without a likelihood."""
        test = evaluation.log_prob("test", min(self.config.n, evaluation.size("test")))
        n, image = len(test), evaluation.dataset.levels is not None
        # What a model writes under the name of the means over blocks would change how it is compared.
        details = {key: value for key, value in evaluation.likelihood_details.items() if key != "block_means"}
        details["base"] = base(details, image=image)
        dequantized = details["base"] == "dequantized"
        details["conditions"] = conditions(evaluation.likelihood_options, details, dequantized=dequantized)
        if dequantized:
            details["bound"] = f"{dequantization(details)} dequantization bound"
        if np.isneginf(test).any():
            details["points_without_mass"] = int(np.isneginf(test).sum())
        found = mass_of(evaluation, self.config.mass_points)
        if isinstance(found, Untold):
            details["no_mass"] = found.reason
            if found.least:
                details["least_mass"] = found.least
        unit = "bits/dim" if image else "nats"
        scale = 1 / (evaluation.dim * math.log(2)) if image else 1.0

        true = evaluation.true_log_prob("test", n)
        equal = min(n, evaluation.size("train"))
        train = evaluation.log_prob("train", equal)
        nll, nll_gap, mass, gap = self.quantities
        shared = {"likelihood": evaluation.likelihood, "n": n}

        def result(quantity: trilemma.Quantity, interval: Interval, scale: float, **fields: Any) -> trilemma.Result:
            value, low, high = (None if bound is None else bound * scale for bound in interval)
            assert value is not None
            return quantity.result(value, evaluation.dim, low=low, high=high, **{**shared, **fields})

        # If the entropy is known, nll_gap takes the place of nll in the main table.
        place = nll.place if true is None else "more"
        floor = None if true is None else -scale * float(true.mean())
        marks = density_marks(evaluation)
        if isinstance(found, Untold):
            marks += found.marks(evaluation.likelihood)
            marks += (f"{NOT_TOLD}: {found.reason}",) if evaluation.likelihood == "map" else ()
        if image:
            _, _, high = mean_nll(test)
            least = least_nll(evaluation.dataset.splits.test[:n])
            marks += (IMPOSSIBLE,) if high is not None and high < least - ROUNDING else ()
        about = details | block_means(test, scale)
        about |= {"histogram": nll_histogram(test=test, train=train, true=true, scale=scale, unit=unit)}
        if self.config.side > 1 and evaluation.dataset.kind == "vector" and evaluation.dim == 2:
            about |= {"map": density_map(evaluation, self.config.side)}
        results = [result(nll, mean_nll(test), scale, unit=unit, floor=floor, place=place, details=about, marks=marks)]
        if true is not None:
            interval = gap_to_entropy(log_prob=test, true_log_prob=true)
            about = details | {"entropy": evaluation.dataset.entropy} | block_means(test - true)
            impossible = gap_marks(interval)
            # The noise of a bound makes the mean of q/p too large.
            if isinstance(found, Untold) and evaluation.likelihood != "bound":
                impossible += excess_marks(test - true)
            results.append(result(nll_gap, interval, 1.0, floor=0.0, details=about, marks=impossible))
        if isinstance(found, Mass):
            about = details | {"effective_points": found.effective}
            fields = {"floor": 1.0, "n": len(found.weights), "marks": found.marks(evaluation.likelihood)}
            results.append(result(mass, (found.value, *found.interval()), 1.0, details=about, **fields))

        if np.isneginf(train).all():
            return results
        interval = generalization_gap(test=test[:equal], train=train)
        # The gap has no direction: it is also 0 for a model that has learned nothing.
        about = details | {"memorizes": exceeds(interval, GAP_PER_COORDINATE * evaluation.dim)}
        floor = None
        if true is not None:
            true_train = evaluation.true_log_prob("train", equal)
            floor = None if true_train is None else scale * float(true_train.mean() - true[:equal].mean())
        marks = (MEMORIZES,) if exceeds(interval, MARKED_GAP * evaluation.dim) else ()
        results.append(result(gap, interval, scale, unit=unit, floor=floor, n=equal, details=about, marks=marks))
        return results


def nll_histogram(*, test: Array, train: Array, true: Array | None, scale: float, unit: str) -> dict[str, Any]:
    """The drawing of the NLL of single points, from log-densities `(n,)` in nats that `scale` carries to `unit`."""
    series = {"test points": -scale * test, "training points": -scale * train}
    if true is None:
        edges = span(np.concatenate([*series.values()]), 0.005)
        against = ""
    else:
        series["test points, true density"] = -scale * true
        low, high = -scale * float(true.max()), -scale * float(true.min())
        edges = span(np.array([low, high + (high - low) / 2]))
        against = (
            "The closer the histogram is to that of the true density, the better the model. Points far to the right "
            "are points that the model calls nearly impossible. "
        )
    return histogram(
        series,
        edges,
        title="NLL of single points",
        x_title=f"NLL of a point [{unit}]",
        reading=(
            f"The share of points by their NLL under the model. {against}Training points that lie to the left of test "
            "points have been memorized. The first and the last bar hold all points beyond them."
        ),
    )


def gap_marks(gap: Interval) -> tuple[str, ...]:
    """The mark of an NLL that no density can have: below the entropy by more than its interval and rounding."""
    value, _, high = gap
    impossible = value < -ROUNDING and (high is None or high < -ROUNDING)
    return ("NLL below the entropy",) if impossible else ()


def exceeds(gap: Interval, limit: float) -> bool:
    """Whether a generalization gap in nats is larger than a limit and its interval lies above 0."""
    value, low, _ = gap
    return value > limit and (value if low is None else low) > 0
