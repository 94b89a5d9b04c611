"""Datasets from the user's own files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator

import trilemma

from .tables import check_images, check_table, find_file, read_array, read_folder

_LEAST_ROWS = 100  # with fewer rows, the splits are too small for any metric


class FileConfig(trilemma.Config):
    """The path of the data, and how it is split."""

    path: str = Field("", description="path of the file")
    key: str = Field("", description="name of the array, for .npz files with several")
    valid_fraction: float = Field(0.1, gt=0, lt=1, description="share of the rows for validation")
    test_fraction: float = Field(0.2, gt=0, lt=1, description="share of the rows for test")
    shuffle: bool = Field(True, description="shuffle the rows before splitting; use false for ordered data")
    split_seed: int = Field(0, ge=0, description="seed of the shuffle")

    @model_validator(mode="after")
    def _leaves_training_data(self) -> FileConfig:
        if self.valid_fraction + self.test_fraction >= 1:
            raise ValueError("valid_fraction and test_fraction leave no training data: make their sum less than 1")
        return self


def stamp(path: str) -> str:
    """Names, sizes and modification times of a file, or of the files in a folder; empty if there is none."""
    place = Path(path).expanduser()
    files = sorted(place.iterdir()) if place.is_dir() else [place] if place.is_file() else []
    return ";".join(f"{file.name} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in files)


def split_rows(values: NDArray[np.float32] | NDArray[np.uint8], config: FileConfig) -> trilemma.Splits:
    """Split rows into train, validation and test parts, in this order, after a shuffle with the seed."""
    n = len(values)
    order = np.random.RandomState(config.split_seed).permutation(n) if config.shuffle else np.arange(n)
    n_valid, n_test = round(n * config.valid_fraction), round(n * config.test_fraction)
    points = torch.from_numpy(values[order])
    return trilemma.Splits(*torch.split(points, [n - n_valid - n_test, n_valid, n_test]))


class File(trilemma.Dataset):
    """Your own table, rows by columns: `.npy`, `.npz`, `.csv` (with or without a header), `.parquet` or idx."""

    name = "file"
    title = "Own data"
    source = "a file of the user's"
    license = "the user's"

    class Config(FileConfig):
        """The path of the data, and how it is split."""

    def stamp(self) -> str:
        return stamp(self.config.path)

    def load(self) -> trilemma.Splits:
        """Load the splits.

        Raises DataError for a missing file, a wrong format or shape, NaN, constant columns, and too few rows.
        """
        path = find_file(self.config.path)
        values = check_table(read_array(path, self.config.key), str(path), _LEAST_ROWS)
        splits = split_rows(values, self.config)
        constant = (splits.train == splits.train[0]).all(0).nonzero()[:5, 0].tolist()
        if constant:
            raise trilemma.DataError(f"{path}: columns {constant} are constant in the training rows: drop them")
        return splits


class ImageFile(trilemma.Dataset):
    """Your own images of equal size with intensity levels 0 to 255, from a folder of image files or from an array file.

    An array has the shape (n, height, width), (n, channels, height, width) or (n, height, width, channels), in `.npy`,
    `.npz` or idx format.
    """

    name = "image-file"
    title = "Own images"
    kind = "image"
    levels = 256
    source = "files of the user's"
    license = "the user's"

    class Config(FileConfig):
        """The path of the images, and how they are split."""

        path: str = Field("", description="path of the file or folder")

    def stamp(self) -> str:
        return stamp(self.config.path)

    def load(self) -> trilemma.Splits:
        """Load the splits. Raises DataError for a missing file, a wrong format, shape or type, and too few images."""
        path = find_file(self.config.path)
        images = read_folder(path) if path.is_dir() else read_array(path, self.config.key)
        return split_rows(check_images(images, str(path), _LEAST_ROWS), self.config)
