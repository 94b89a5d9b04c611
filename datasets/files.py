"""Datasets from the user's own files."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator

import trilemma

from .columns import Table, usable
from .few_rows import few_rows
from .folder import Images, image_files
from .folder_cache import read_once
from .splitting import SplitConfig, parts
from .tables import check_images, find_file, read_array, read_frame

_LEAST_ROWS = 50  # with fewer rows, the splits are too small for any metric
_HEADERS = {"auto": None, "yes": True, "no": False}


class FileConfig(SplitConfig):
    """The path of the data, and how it is split."""

    path: str = Field("", description="path of the file")
    key: str = Field("", description="name of the array, for .npz files with several")
    valid_fraction: float = Field(0.1, gt=0, lt=1, description="share of the rows for validation")
    test_fraction: float = Field(0.2, gt=0, lt=1, description="share of the rows for test")
    shuffle: bool = Field(True, description="shuffle the rows before splitting; use false for ordered data")

    @model_validator(mode="after")
    def _leaves_training_data(self) -> FileConfig:
        if self.valid_fraction + self.test_fraction >= 1:
            raise ValueError("valid_fraction and test_fraction leave no training data: make their sum less than 1")
        return self


def stamp(path: str) -> str:
    """Names, sizes and modification times of a file, or of the images in a folder; empty if there is none."""
    place = Path(path).expanduser()
    try:
        files = image_files(place) if place.is_dir() else [place] if place.is_file() else []
        return ";".join(f"{file.name} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in files)
    except OSError:
        return ""


def split_rows(values: NDArray[np.float32] | NDArray[np.uint8], config: FileConfig) -> trilemma.Splits:
    """Split rows into train, validation and test parts, in this order, after a shuffle with the seed."""
    n = len(values)
    order = config.permutation(n) if config.shuffle else np.arange(n)
    n_valid, n_test = round(n * config.valid_fraction), round(n * config.test_fraction)
    return parts(torch.from_numpy(values[order]), n_valid, n_test)


class OwnData(trilemma.Dataset):
    """Base class of the datasets from files of the user."""

    source = "files of the user's"
    license = "the user's"

    def stamp(self) -> str:
        return stamp(self.config.path)

    def card(self) -> trilemma.Card:
        return super().card().model_copy(update={"title": Path(self.config.path).name})


class File(OwnData):
    """Your own table, rows by columns: CSV, `.npy`, `.npz`, `.parquet` or idx.

    CSV files may have any usual separator, decimal sign and encoding, and a header or none. Columns that hold no
    numbers, or are constant, copies or row numbers, are left out, and so are rows with missing values. The card and the
    run name them.
    """

    name = "file"
    title = "Own data"
    standardized = True

    class Config(FileConfig):
        """The path of the data, the columns to use, and how the rows are split."""

        header: Literal["auto", "yes", "no"] = Field(
            "auto", description="whether the first line of a CSV file names the columns; `auto` looks at the cells"
        )
        columns: list[str] = Field([], description="names of the columns to use; by default all that can be used")
        drop: list[str] = Field([], description="names of columns to leave out")

    @cached_property
    def _table(self) -> Table:
        path = find_file(self.config.path)
        frame = read_frame(path, self.config.key, _HEADERS[self.config.header])
        table = usable(frame, str(path), columns=self.config.columns, drop=self.config.drop, least=_LEAST_ROWS)
        train = split_rows(table.values, self.config).train.numpy()
        same = (train == train[0]).all(0)
        table = table.without({table.names[number]: "constant in the training rows" for number in np.flatnonzero(same)})
        if not table.names:
            raise trilemma.DataError(f"{path}: no column varies")
        return table

    def load(self) -> trilemma.Splits:
        """Load the splits.

        Raises DataError for a missing file, a wrong format or shape, no column of numbers, and too few rows.
        """
        return split_rows(self._table.values, self.config)

    def coordinates(self) -> tuple[str, ...]:
        return self._table.names

    def remarks(self) -> tuple[str, ...]:
        import pandas as pd

        table = self._table
        repeated = int(pd.DataFrame(table.values).duplicated().sum())
        n, d = table.values.shape
        remarks = [f"{n:,} rows and {d:,} columns are used", *table.remarks, *few_rows(len(self.splits.test))]
        if repeated:
            remarks.append(
                f"{repeated:,} rows repeat an earlier row; copies in both training and test rows favor models that "
                "memorize, so remove those that are no real repetitions"
            )
        return tuple(remarks)


class ImageFile(OwnData):
    """Your own images with intensity levels 0 to 255, from a folder of image files or from an array file.

    Images in a folder that differ in size, or are larger than 64 pixels, are cropped to the middle square and reduced
    to `size`. An array has the shape (n, height, width), (n, channels, height, width) or (n, height, width, channels),
    in `.npy`, `.npz` or idx format.
    """

    name = "image-file"
    title = "Own images"
    kind = "image"
    levels = 256

    class Config(FileConfig):
        """The path of the images, and how they are split."""

        path: str = Field("", description="path of the file or folder")
        size: int = Field(
            0,
            ge=0,
            le=512,
            description="height and width of the images of a folder; 0 keeps them if they are equal and at most 64 "
            "pixels, and else means 32",
        )

    @cached_property
    def _images(self) -> Images:
        path = find_file(self.config.path)
        if path.is_dir():
            return read_once(path, self.config.size, self.stamp())
        return Images(read_array(path, self.config.key))

    def load(self) -> trilemma.Splits:
        """Load the splits. Raises DataError for a missing file, a wrong format, shape or type, and too few images."""
        path = find_file(self.config.path)
        return split_rows(check_images(self._images.values, str(path), _LEAST_ROWS), self.config)

    def remarks(self) -> tuple[str, ...]:
        n, *shape = self._images.values.shape
        return (f"{n:,} images of {' x '.join(map(str, shape))} are used", *self._images.remarks)
