"""Points along a chain and pictures of images for the details of a result, which a report draws."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .histograms import shortened

Array = NDArray[np.float64]

BYTES = 2**16
"""The most bytes of the pixels of one drawing. Larger images are shown fewer at a time."""
FRAMES, POINTS = 8, 150


def images(
    pictures: Array, shape: tuple[int, ...], rows: Sequence[str], columns: Sequence[str], *, title: str, reading: str
) -> dict[str, Any]:
    """The drawing `images`: a grid of `pictures` (rows, columns, d) with intensities in [0, 1] of images of a `shape`.

    The shape of an image is (channels, height, width) or (height, width).
    """
    whole = pictures.reshape(len(rows), len(columns), *(shape if len(shape) == 3 else (1, *shape)))
    levels = np.round(255 * np.clip(np.moveaxis(whole, 2, -1), 0, 1)).astype(np.uint8)
    return {
        "rows": list(rows),
        "columns": list(columns),
        "shape": list(levels.shape[2:]),
        "pixels": base64.urlsafe_b64encode(levels.tobytes()).decode(),
        "title": title,
        "reading": reading,
    }


def affordable(shape: tuple[int, ...], rows: int, most: int) -> int:
    """How many columns of `rows` images each are within `BYTES`, at most `most`; 0 for images that are too large."""
    return min(most, BYTES // (rows * int(np.prod(shape))))


def evenly(steps: Sequence[int], frames: int = FRAMES) -> list[int]:
    """The places of at most `frames` of rising `steps` that are nearest to evenly spaced ones."""
    wanted = np.linspace(steps[0], steps[-1], frames)
    return sorted({int(np.abs(np.asarray(steps) - want).argmin()) for want in wanted})


def frames(chain: Sequence[tuple[int, Array]], *, title: str, reading: str) -> dict[str, Any]:
    """The drawing `frames`: the first two coordinates of the first points of a chain at a few steps."""
    kept = [chain[place] for place in evenly([steps for steps, _ in chain])]
    return {
        "steps": [steps for steps, _ in kept],
        "points": [[[shortened(value) for value in point] for point in x[:POINTS, :2]] for _, x in kept],
        "title": title,
        "reading": reading,
    }
