"""Pictures of samples: a grid of images, a scatter plot in two dimensions, a histogram in one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
MOST_IMAGES = 400
WIDTH = 800
"""Pixels, about, to which a grid of images is enlarged by a whole factor."""


def image_grid(stream: BinaryIO, batches: Iterable[Array], n: int, levels: int) -> int:
    """Write a grid of the first `n` images as PNG, row by row, with black for the lowest level. Returns `n`."""
    from PIL import Image

    images = np.concatenate(list(_first(batches, n)))
    pixels = (images.astype(np.float64) * (255 / max(1, levels - 1))).round().astype(np.uint8)
    channels, height, width = (1, *pixels.shape[1:])[-3:]
    pixels = pixels.reshape(n, channels, height, width)
    columns = math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    grid = np.full((channels, rows * (height + 1) + 1, columns * (width + 1) + 1), 128, np.uint8)
    for number, image in enumerate(pixels):
        top, left = (number // columns) * (height + 1) + 1, (number % columns) * (width + 1) + 1
        grid[:, top : top + height, left : left + width] = image
    factor = max(1, WIDTH // grid.shape[2])
    color = np.moveaxis(grid, 0, 2) if channels == 3 else grid[0]
    picture = Image.fromarray(color)
    picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST).save(stream, "PNG")
    return n


def plotted(stream: BinaryIO, batches: Iterable[Array], title: str) -> int:
    """Write a scatter plot of points in two dimensions, or a histogram in one, as PNG. Returns the number of points."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    points = np.concatenate([batch.reshape(len(batch), -1) for batch in batches])
    figure = Figure(figsize=(6, 6), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(f"{len(points):,} samples of {title}", fontsize=9, parse_math=False)
    if points.shape[1] == 1:
        axes.hist(points[:, 0], bins="auto" if len(points) < 100_000 else 500)
        axes.set(xlabel="$x_0$", ylabel="samples")
    else:
        size = float(np.clip(4000 / len(points), 0.02, 6))
        axes.scatter(points[:, 0], points[:, 1], s=size, linewidths=0)
        axes.set(xlabel="$x_0$", ylabel="$x_1$", aspect="equal")
    figure.savefig(stream, format="png")
    return len(points)


def _first(batches: Iterable[Array], n: int) -> Iterator[Array]:
    """The first `n` points, without drawing more batches than they need."""
    for batch in batches:
        yield batch[:n]
        n -= len(batch)
        if n <= 0:
            return
