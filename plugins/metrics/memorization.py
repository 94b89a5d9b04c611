"""A metric of memorization: whether a model reproduces training or test points, or repeats its own."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

import trilemma

from .drawings.histograms import histogram, span
from .drawings.images import affordable, images
from .samples import DrawsConfig, check_pair

Array = NDArray[np.float64]

TREE_UP_TO = 6  # most coordinates in which a k-d tree is faster than all distances
MOST_PRODUCTS = 1e10  # products of coordinates for all distances, about a second; more data is searched at fewer points
SAME = 1e-6  # distance in standard deviations of the data below which two points are the same, up to rounding
FEW = 5_000  # points; a model that draws at random from a larger stored set is not marked for repeats
LEAST_REPEATED = 0.01  # share of repeated points, beyond twice the share in real data, that is marked

PAIRS = 12  # samples that are shown above their nearest training images
WHOLE_DRAW = 0.5  # share of one draw that occurs again, beyond the share in real data, that is a replay of the draw


def nearest(points: Array, others: Array) -> Array:
    """Distance of each of `points` (n, d) to the nearest of `others` (m, d), `(n,)`."""
    if points.shape[1] <= TREE_UP_TO:
        from scipy.spatial import cKDTree

        return np.asarray(cKDTree(others).query(points)[0], np.float64)
    return np.asarray(np.linalg.norm(points - others[_argnearest(points, others)], axis=1))


def _argnearest(points: Array, others: Array) -> NDArray[np.int64]:
    """The place in `others` (m, d) of the point nearest to each of `points` (n, d), `(n,)`, by matrix products."""
    center = others.mean(0)
    # The nearest point is found in single precision. Its distance is then computed in double.
    at, among = ((part - center).astype(np.float32) for part in (points, others))
    half_norms = 0.5 * (among * among).sum(1)
    return np.concatenate([(half_norms - part @ among.T).argmin(1) for part in _blocks(at, len(among))])


def _blocks(points: NDArray[np.float32], columns: int) -> list[NDArray[np.float32]]:
    return np.array_split(points, max(1, math.ceil(len(points) * columns / 2**24)))


def nearness(*, points: Array, train: Array, held_out: Array) -> Array:
    """For each of `points` (n, d): distance to the nearest training point over distance to the nearest held-out point.

    The shape is `(n,)`. For points that are independent of both sets, this ratio has the same distribution wherever the
    points lie. It is smaller only if a model has learned single training points. Raises DataError or DivergedError for
    sets that cannot be compared.
    """
    check_pair(train, points, equal=False)
    check_pair(held_out, points, equal=False)
    ratio: Array = nearest(points, train) / np.maximum(nearest(points, held_out), np.finfo(np.float64).tiny)
    return ratio


def repeated(sets: list[Array], scale: Array) -> list[float]:
    """For each of `sets` (n, d): the share of its points that occur again in it or in another set.

    Two points are the same if they agree up to `SAME` in every coordinate, in units of `scale` (d,).
    """
    cells = np.round(np.concatenate(sets) / (SAME * scale))
    _, index, counts = np.unique(cells, axis=0, return_inverse=True, return_counts=True)
    again = counts[index.reshape(-1)] > 1
    return [float(part.mean()) for part in np.split(again, np.cumsum([len(points) for points in sets])[:-1])]


def pool_size(draws: int, share: float) -> float:
    """About how many points a model draws from at random, if `share` of its `draws` occur more than once.

    A point of a pool of K occurs again with probability 1 - (1 - 1 / K)^(draws - 1), about 1 - exp(-draws / K).
    """
    if share >= 1:
        return 0.0
    return draws / -math.log1p(-share) if share > 0 else math.inf


class Memorization(trilemma.Metric):
    """Copies: whether samples are training points, test points, or one another.

    `memorized` is the share of samples that are nearer to training points than nearly all real points are. The
    threshold is a quantile of the nearness of real points, where nearness is the distance to the nearest training point
    over the distance to the nearest test point. A model that has memorized nothing gives `quantile`, a model that
    reproduces training points gives 1. `copied` is the same for test points against other held-out points. `repeated`
    is the share of samples that occur more than once within a draw or between independent draws; its floor is the share
    in real data, which has repeated points too if its values are discrete.

    A model is marked if the interval of a share lies above what real points reach.
    """

    name = "memorization"
    quantities = (
        trilemma.Quantity(name="memorized", title="Memorized", group="quality", better="none", place="more"),
        trilemma.Quantity(name="copied", title="Test points copied", group="quality", better="none", place="more"),
        trilemma.Quantity(name="repeated", title="Repeated", group="quality", better="none", place="more"),
    )

    class Config(DrawsConfig):
        """Sizes of the sample sets, and the threshold."""

        n: int = Field(1000, ge=2, description="points per sample set")
        draws: int = Field(4, ge=2, description="independent sample sets drawn from the model")
        quantile: float = Field(
            0.05, gt=0, lt=1, description="share of real points whose nearness lies below the threshold"
        )

    def compute(self, evaluation: trilemma.Evaluation) -> list[trilemma.Result]:
        generated = [evaluation.generate(self.config.n, draw) for draw in range(self.config.draws)]
        train, valid, test = (evaluation.points(split) for split in ("train", "valid", "test"))
        fresh = evaluation.dataset.has_density
        # `real` is independent of the training and the test split, `other` stands against the test split.
        real = evaluation.real(min(2 * self.config.n, len(test)), 2) if fresh else valid
        other = evaluation.real(len(test), 1) if fresh else valid
        searched, (real,) = thinned(generated, [real], train.shape[1] * (len(train) + 2 * len(test) + len(other)))
        known = train[: len(real)]
        memorized = self._near(searched, real, train, test)
        copied, replayed = self._near(searched, known, test, other), self._near(searched, known, valid, test)
        copied.details["validation"] = replayed.value
        marks = copied.marks("copies test points")
        if not evaluation.model.needs_truth:  # the oracle may draw validation points
            marks += replayed.marks("copies validation points")
        memorized.details.update(self._drawings(memorized, searched, train, evaluation.dataset))
        return [
            memorized.result(self.quantities[0], evaluation.dim, memorized.marks("memorizes training points")),
            copied.result(self.quantities[1], evaluation.dim, marks),
            self._repeated(evaluation, generated, train),
        ]

    def _near(self, generated: list[Array], real: Array, near: Array, instead: Array) -> _Share:
        """The share of generated points that are nearer to the points `near` than to `instead`, judged by `real`."""
        usual, quantile = nearness(points=real, train=near, held_out=instead), self.config.quantile
        threshold = np.quantile(usual, quantile)
        own = [nearness(points=points, train=near, held_out=instead) for points in generated]
        value, low, high = trilemma.mean_interval([(part < threshold).mean() for part in own])
        # The threshold comes from finitely many real points: the true share below it has this standard error.
        error = math.sqrt(quantile * (1 - quantile) / len(usual))
        tolerance = SAME * np.linalg.norm(near.std(0))
        details = {
            "draws": len(generated),
            "points": len(near),
            "quantile": quantile,
            "exact": float(np.mean([(nearest(points, near) <= tolerance).mean() for points in generated])),
            "memorizes": low is not None and low > 2 * quantile + 3 * error,
        }
        floor = float((usual < threshold).mean())
        return _Share(value, low, high, floor, len(generated[0]), details, np.concatenate(own), usual)

    def _drawings(
        self, share: _Share, generated: list[Array], train: Array, dataset: trilemma.Dataset
    ) -> dict[str, Any]:
        """The histogram of the nearness to training points, and, for images, samples above their nearest ones."""
        points, image = np.concatenate(generated), dataset.kind == "image"
        drawings = {"histogram": nearness_histogram(share.own, share.usual)}
        if image and len(points) >= PAIRS and (count := affordable(dataset.shape, 2, PAIRS)) > 1:
            first = count // 2
            chosen = np.r_[0:first, first + np.argsort(share.own[first:], kind="stable")[: count - first]]
            pairs = np.stack([points[chosen], train[_argnearest(points[chosen], train)]])
            columns = [f"sample {place + 1}" for place in chosen]
            rows = ("samples", "nearest training images")
            drawings["images"] = images(
                pairs,
                dataset.shape,
                rows,
                columns,
                title="Samples above their nearest training images",
                reading=(
                    "The first row has samples, and below each is the training image that is nearest to it. The left "
                    f"{first} are the first samples, without selection. The others are those of {len(points):,} "
                    "samples that are nearest to training images, compared with test images. A sample that is the same "
                    "as the image below it is a copy: a model of copies looks perfect and has learned nothing new."
                ),
            )
        return drawings

    def _repeated(self, evaluation: trilemma.Evaluation, generated: list[Array], train: Array) -> trilemma.Result:
        """The share of generated points that occur more than once, and of as many training points."""
        n = min(sum(len(points) for points in generated), len(train)) // len(generated)
        scale = np.maximum(train.std(0), np.finfo(np.float32).tiny)
        real = [train[draw * n : (draw + 1) * n] for draw in range(len(generated))]
        floor = float(np.mean(repeated(real, scale)))
        shares = repeated([points[:n] for points in generated], scale)
        value, low, high = trilemma.mean_interval(shares)
        # A model that replays a few stored draws repeats all points of some draws and none of others. The interval is
        # then wide, but most points of one draw are there again.
        sure = value if low is None or max(shares) > WHOLE_DRAW + floor else low
        found = evaluation.independent_draws and low is not None and sure > 2 * floor + LEAST_REPEATED
        pool = pool_size(n * len(generated), sure)
        return self.quantities[2].result(
            value,
            evaluation.dim,
            low=low,
            high=high,
            floor=floor,
            n=n,
            marks=(f"repeats points: {value:.0%} of samples occur more than once",) if found and pool < FEW else (),
            details={
                "draws": len(generated),
                "independent": evaluation.independent_draws,
                "pool": pool if math.isfinite(pool) else None,
            },
        )


def nearness_histogram(own: Array, usual: Array) -> dict[str, Any]:
    """The drawing of the nearness `(n,)` of samples beside that of real points."""
    return histogram(
        {"samples": own, "real points": usual},
        span(np.array([0.0, max(2.5, float(np.quantile(usual, 0.99)))])),
        title="Nearness to training points",
        x_title="distance to training / to test points",
        reading=(
            "The share of points by the distance to their nearest training point over that to their nearest test "
            "point. Samples of a model that has memorized nothing have the histogram of real points. A bar at 0 is "
            "copies of training points. The last bar holds all points beyond it."
        ),
    )


@dataclass(frozen=True)
class _Share:
    """A share of samples with its interval, its floor, the sample size and its details.

    `own` is the nearness of each sample, and `usual` that of real points.
    """

    value: float
    low: float | None
    high: float | None
    floor: float
    n: int
    details: dict[str, Any]
    own: Array
    usual: Array

    def marks(self, mark: str) -> tuple[str, ...]:
        """The mark, if the share is larger than real points reach."""
        if not self.details["memorizes"]:
            return ()
        usual = 1 - self.details["quantile"]
        return (f"{mark}: {self.value:.0%} of samples are nearer to them than {usual:.0%} of real points",)

    def result(self, quantity: trilemma.Quantity, dim: int, marks: tuple[str, ...]) -> trilemma.Result:
        """The share as a result."""
        return quantity.result(
            self.value,
            dim,
            low=self.low,
            high=self.high,
            floor=self.floor,
            n=self.n,
            marks=marks,
            details=self.details,
        )


def thinned(generated: list[Array], real: list[Array], coordinates: int) -> tuple[list[Array], list[Array]]:
    """The first points of each set, so few that the distances to all data take about a second.

    `coordinates` is the number of coordinates of the data that the points are compared with.
    """
    d = generated[0].shape[1]
    most = int(MOST_PRODUCTS / coordinates)
    points = sum(len(part) for part in (*generated, *real))
    if d <= TREE_UP_TO or points <= most:
        return generated, real
    kept = [[part[: max(20, len(part) * most // points)] for part in group] for group in (generated, real)]
    return kept[0], kept[1]
