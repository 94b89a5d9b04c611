"""The distance to the true distribution along the chain of a sampler."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

import trilemma

from .drawings.images import affordable, evenly, frames, images
from .modes import mode_statistics, true_components
from .samples import check_pair, distances

Array = NDArray[np.float64]


def energy_distance(x: Array, y: Array) -> float:
    """The energy distance 2 E|X - Y| - E|X - X'| - E|Y - Y'| between two sets `(n, d)`, pairs with oneself included.

    It is never negative. Between two sets of `n` points of one distribution it is about E|X - X'| 2 / n.
    """
    check_pair(x, y, equal=False)
    return float(max(0.0, 2 * distances(x, y).mean() - distances(x, x).mean() - distances(y, y).mean()))


class ChainDistance(trilemma.Metric):
    """The energy distance to the true distribution along the chain of a sampler, for samplers that show their chain.

    The number is the distance at the end. The details hold the curve of distances from the start on, at steps that lie
    ever further apart, and the points at a few of them, which a report draws. On mixtures they hold the mode mass KL
    along the chain too. A chain that mixes falls to the floor; one that is trapped in modes of wrong weights stays
    above it, however long it runs.

    It ranks no models: it shows how a sampler gets there, and the other metrics judge where it ends. Raises
    UnsupportedError for samplers that move no points step by step.
    """

    name = "chain_distance"
    compares = False
    expected_failures = {"checked": "it needs a sampler with a chain, and metrics are checked on one without"}
    quantities = (
        trilemma.Quantity(name="chain_distance", title="Distance at the end of the chain", place="more", ranks=False),
    )

    class Config(trilemma.Config):
        """Size of the sets."""

        n: int = Field(500, ge=10, description="number of chains, and of real points")

    def compute(self, evaluation: trilemma.Evaluation) -> list[trilemma.Result]:
        n = min(self.config.n, evaluation.size("test"))
        chain = evaluation.chain(n)
        real = evaluation.real(n)
        values = [energy_distance(points, real) for _, points in chain]
        floor = energy_distance(evaluation.real(n, 1), real) if evaluation.real_draws(n) else None
        steps = [step for step, _ in chain]
        details: dict[str, object] = {
            "curve": {
                "x": steps,
                "y": values,
                "x_title": "steps of the chain",
                "y_title": "energy distance",
                "floor": floor,
                "reading": (
                    f"The energy distance between {n} real points and {n} chains falls as the chains approach the true "
                    "distribution. The dashed line is the distance between two sets of real points. A curve that stays "
                    "above it belongs to chains that do not find the true distribution, however long they run."
                ),
            }
        }
        if (components := true_components(evaluation)) is not None:
            shares = [
                mode_statistics(generated=points, least=0.1, true_radii=None, **components)["mode_mass_kl"]
                for _, points in chain
            ]
            details["mode_mass_kl"] = shares
        details |= chain_pictures(chain, evaluation.dataset.shape, image=evaluation.dataset.kind == "image")
        return [self.quantities[0].result(values[-1], evaluation.dim, floor=floor, n=n, details=details)]


def chain_pictures(chain: list[tuple[int, Array]], shape: tuple[int, ...], *, image: bool) -> dict[str, object]:
    """The drawing of the points `(n, d)` of a chain at a few steps, by its key; none for points of one coordinate.

    `image` says that a point is an image of the `shape`.
    """
    reading = (
        "Points of one draw at a few steps of the sampler, from the start on the left to the samples on the right, "
        "without selection. Noisy points are scaled to about the spread of the data. See how early the shape of the "
        "data appears, and whether the last steps still change it: where they do not, fewer steps may do."
    )
    if not image:
        return {"frames": frames(chain, title="Along the sampler", reading=reading)} if shape[0] > 1 else {}
    kept = [chain[place] for place in evenly([steps for steps, _ in chain])]
    columns = ["start" if steps == 0 else f"step {steps}" for steps, _ in kept]
    rows = affordable(shape, len(columns), 3)
    if not rows:
        return {}
    grid = np.stack([x[:rows] for _, x in kept], axis=1)
    names = [f"sample {row + 1}" for row in range(rows)]
    return {"images": images(grid, shape, names, columns, title="Along the sampler", reading=reading)}
