"""Pictures of samples: scatter plots on shared axes, and mosaics of images."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imsave
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[np.float64]

POINTS = 1_000
TILES = 6
GHOST, NEUTRAL = "#8a949e", "#7c8791"
"""Grays that are visible on white and on black, for the data behind a model, and for data and controls."""


@dataclass(frozen=True)
class Frame:
    """The limits `(x low, x high, y low, y high)` of all scatter plots of one dataset."""

    box: tuple[float, float, float, float]


def plane(points: NDArray[np.generic]) -> Array:
    """The first two coordinates of points `(n, *shape)`. A single coordinate is drawn against its rank."""
    flat = np.asarray(points, dtype=np.float64).reshape(len(points), -1)[:POINTS]
    if flat.shape[1] >= 2:
        return flat[:, :2]
    order = np.argsort(np.argsort(flat[:, 0])) / max(1, len(flat) - 1)
    return np.column_stack([flat[:, 0], order])


def common_frame(data: Array) -> Frame:
    """Limits that contain all but the outermost 0.2 % of the data in each coordinate, with a margin.

    The limits form a square, so that nothing is stretched, unless one side is more than four times the other.
    """
    low, high = np.quantile(data, [0.001, 0.999], axis=0)
    center, span = (low + high) / 2, np.maximum(high - low, 1e-9)
    half = 0.56 * (span if span.min() < 0.25 * span.max() else np.full(2, span.max()))
    x, y = zip(center - half, center + half, strict=True)
    return Frame((x[0], x[1], y[0], y[1]))


def scatter(axes: Axes, points: Array | None, ghost: Array | None, frame: Frame, color: str) -> None:
    """Draw `points` in `color` over the data `ghost` in gray."""
    if ghost is not None:
        axes.scatter(ghost[:, 0], ghost[:, 1], s=5, c=GHOST, alpha=0.22, linewidths=0)
    if points is not None:
        axes.scatter(points[:, 0], points[:, 1], s=3.2, c=color, alpha=0.6, linewidths=0)
    x_low, x_high, y_low, y_high = frame.box
    axes.set(xlim=(x_low, x_high), ylim=(y_low, y_high), xticks=[], yticks=[])
    axes.set_facecolor("none")


def scatter_png(points: Array | None, ghost: Array | None, frame: Frame, color: str) -> bytes:
    """One scatter plot as PNG on a transparent background, without axes."""
    figure = Figure(figsize=(2.2, 2.2), facecolor="none")
    axes = figure.add_axes((0, 0, 1, 1))
    scatter(axes, points, ghost, frame, color)
    axes.axis("off")
    return small_png(figure, 120)


def small_png(figure: Figure, dpi: float, colors: int = 128) -> bytes:
    """A figure as PNG with transparency, with so few colors that it takes a quarter of the bytes."""
    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    out = io.BytesIO()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba()))  # type: ignore[no-untyped-call]
    image.quantize(colors, method=Image.Quantize.FASTOCTREE).save(out, format="png")
    return out.getvalue()


def mosaic(points: NDArray[np.generic], levels: int | None) -> Array:
    """The first images of `(n, c, h, w)`, `(n, h, w, c)` or `(n, h, w)` as an RGB array in [0, 1], `TILES` a side."""
    images = np.asarray(points, dtype=np.float64)[: TILES**2]
    if images.ndim == 3:
        images = images[..., None]
    elif images.shape[1] in (1, 3) and images.shape[-1] not in (1, 3):
        images = np.moveaxis(images, 1, -1)
    images = images / (levels - 1 if levels and levels > 1 else 1)
    images = np.broadcast_to(np.clip(images, 0, 1), (*images.shape[:3], 3))
    n, height, width, _ = images.shape
    sheet = np.full((TILES * (height + 1) + 1, TILES * (width + 1) + 1, 3), 0.35)
    for index in range(n):
        top, left = 1 + index // TILES * (height + 1), 1 + index % TILES * (width + 1)
        sheet[top : top + height, left : left + width] = images[index]
    return sheet


def mosaic_png(sheet: Array) -> bytes:
    """A mosaic as PNG, without scaling. The page scales it without smoothing."""
    buffer = io.BytesIO()
    imsave(buffer, sheet, format="png")
    return buffer.getvalue()


def data_uri(png: bytes) -> str:
    """A PNG as a `data:` URI."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
