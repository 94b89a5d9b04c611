"""The drawings that metrics give in the details of their results, as a report reads them."""

from __future__ import annotations

import base64
import binascii
import json
import math
from itertools import pairwise
from typing import Annotated, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, Field, ValidationError, model_validator

Array = NDArray[np.float64]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Text = Annotated[str, Field(max_length=600)]
Grid = list[list[Finite]]
Kind = TypeVar("Kind", bound="Drawing")


class Drawing(BaseModel):
    """A drawing in the details of a result. `reading` is its caption, which says what to see."""

    title: Text = ""
    reading: Text = ""


class DrawnCurve(Drawing):
    """A curve, under the key `curve`."""

    x: list[Finite] = Field(min_length=2, max_length=2_000)
    y: list[Finite]
    x_title: Text = ""
    y_title: Text = ""
    floor: Finite | None = None

    @model_validator(mode="after")
    def _matches(self) -> DrawnCurve:
        if len(self.x) != len(self.y):
            raise ValueError("x and y have different lengths")
        return self


class OnGrid(Drawing):
    """A drawing over a grid of the plane, whose rows go along `y`."""

    x: list[Finite] = Field(min_length=2, max_length=500)
    y: list[Finite] = Field(min_length=2, max_length=500)
    log_density: Grid | None = None

    def check(self, *grids: Grid | None) -> None:
        """Raises ValueError for a grid that does not match the axes."""
        for grid in (self.log_density, *grids):
            if grid is not None and [len(row) for row in grid] != [len(self.x)] * len(self.y):
                raise ValueError("the grid does not match x and y")


class DrawnMap(OnGrid):
    """A map, under the key `map`: positive values on a grid."""

    values: Grid

    @model_validator(mode="after")
    def _matches(self) -> DrawnMap:
        self.check(self.values)
        return self


class Arrows(BaseModel):
    """Arrows `(u, v)` at the points of a grid. An arrow of length 1 is as long as a cell of the grid."""

    title: Text = ""
    u: Grid
    v: Grid


class DrawnField(OnGrid):
    """A field of arrows, under the key `field`. The first ones are what the result is about."""

    arrows: list[Arrows] = Field(min_length=1, max_length=3)

    @model_validator(mode="after")
    def _matches(self) -> DrawnField:
        self.check(*(grid for arrows in self.arrows for grid in (arrows.u, arrows.v)))
        return self


class Series(BaseModel):
    """The shares of one set of numbers in each bin of a histogram."""

    title: Text = ""
    shares: list[Share]


class DrawnHistogram(Drawing):
    """A histogram, under the key `histogram`. The first series is what the result is about."""

    edges: list[Finite] = Field(min_length=2, max_length=201)
    series: list[Series] = Field(min_length=1, max_length=4)
    x_title: Text = ""
    bars: bool = False
    """Whether each bin is a thing of its own, such as a mode, so that bars stand apart."""

    @model_validator(mode="after")
    def _matches(self) -> DrawnHistogram:
        if any(low >= high for low, high in pairwise(self.edges)):
            raise ValueError("the edges do not rise")
        if any(len(one.shares) != len(self.edges) - 1 for one in self.series):
            raise ValueError("the shares do not match the edges")
        return self


class DrawnFrames(Drawing):
    """Points in the plane after several steps, under the key `frames`. The last ones are the end."""

    steps: list[int] = Field(min_length=2, max_length=16)
    points: list[Annotated[list[tuple[Finite, Finite]], Field(min_length=1, max_length=1_000)]]

    @model_validator(mode="after")
    def _matches(self) -> DrawnFrames:
        if len(self.points) != len(self.steps) or len({len(frame) for frame in self.points}) != 1:
            raise ValueError("there are not as many frames as steps, or frames have different numbers of points")
        return self


class DrawnImages(Drawing):
    """Images in a grid, under the key `images`.

    `shape` is (height, width, channels), and `pixels` holds the bytes (rows, columns, *shape) in URL-safe base64.
    """

    rows: list[Text] = Field(min_length=1, max_length=24)
    columns: list[Text] = Field(min_length=1, max_length=24)
    shape: tuple[
        Annotated[int, Field(gt=0, le=512)], Annotated[int, Field(gt=0, le=512)], Annotated[int, Field(ge=1, le=3)]
    ]
    pixels: Annotated[str, Field(max_length=2**18)]

    @model_validator(mode="after")
    def _matches(self) -> DrawnImages:
        if self.shape[2] == 2 or len(self.content()) != math.prod((len(self.rows), len(self.columns), *self.shape)):
            raise ValueError("the pixels do not match the shape, or there are neither one nor three channels")
        return self

    def content(self) -> bytes:
        """The bytes of the pixels. Raises ValueError if they are no base64."""
        try:
            return base64.b64decode(self.pixels, altchars=b"-_", validate=True)
        except binascii.Error as error:
            raise ValueError(str(error)) from None

    def grid(self) -> Array:
        """The images in [0, 1], `(rows, columns, height, width, channels)`."""
        levels = np.frombuffer(self.content(), dtype=np.uint8)
        return levels.reshape(len(self.rows), len(self.columns), *self.shape) / 255


def drawn(cls: type[Kind], key: str, details: str) -> Kind | None:
    """The drawing in the column `details`; None if there is none, or if it is not what it should be."""
    if f'"{key}"' not in details:
        return None
    try:
        return cls.model_validate(json.loads(details)[key])
    except (ValueError, ValidationError, LookupError, TypeError):
        return None


def rows_with(rows: pd.DataFrame, key: str) -> pd.DataFrame:
    """The rows of a frame whose details may hold a drawing under `key`, of the first seed of each line."""
    details = rows["details"].fillna("").astype(str)
    found = rows[details.str.contains(f'"{key}"', regex=False) & (rows["outcome"] == "ok")]
    keys = ["dataset_id", "metric", "label", "sampler", "budget", "device", "trained_on"]
    return found.sort_values("seed", kind="stable").drop_duplicates(keys).sort_index()
