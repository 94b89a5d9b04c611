"""Patches of natural images, prepared as in BSDS300."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

import trilemma

_SIDE = 8  # side of a patch, and width of the gaps between the splits
_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601


def gray(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The gray levels 0 to 255 of a photograph, whole numbers of shape (height, width)."""
    return np.rint(image @ _LUMA) if image.ndim == 3 else image.astype(np.float64)


def columns(width: int) -> tuple[slice, slice, slice]:
    """The columns of the train, validation and test parts of a photograph, separated by the width of a patch."""
    first, second = round(0.66 * width), round(0.75 * width)
    return slice(0, first), slice(first + _SIDE, second), slice(second + _SIDE, width)


def patches_of(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """All overlapping 8 x 8 patches of a gray image, one flattened patch per row."""
    return np.lib.stride_tricks.sliding_window_view(image, (_SIDE, _SIDE)).reshape(-1, _SIDE**2)


def without_mean(levels: NDArray[np.float64], noise: NDArray[np.float64]) -> NDArray[np.float64]:
    """The 63 coordinates of patches `(n, 64)`, from levels 0 to 255 and noise in (0, 1).

    The noisy levels are scaled to (0, 1), the mean of each patch is subtracted, and the last pixel is dropped (Zoran
    and Weiss 2011; Papamakarios et al. 2017 for BSDS300).
    """
    x = (levels + noise) / 256
    centered: NDArray[np.float64] = x - x.mean(1, keepdims=True)
    return centered[:, :-1]


class PatchesConfig(trilemma.Config):
    """Sizes of the splits."""

    n_train: int = Field(20_000, ge=2, description="training patches")
    n_valid: int = Field(5_000, ge=2, description="validation patches")
    n_test: int = Field(20_000, ge=2, description="test patches")
    data_seed: int = Field(0, ge=0, description="seed of the choice of patches and of the dequantization")


class PhotographPatches(trilemma.Dataset):
    """Base class of datasets of photograph patches, split in space. A subclass gives `photographs`."""

    expected_failures = {"exchangeable": "the splits are different parts of the photographs, because patches overlap"}
    citation = "Zoran and Weiss 2011, From learning models of natural image patches to whole image restoration"

    class Config(PatchesConfig):
        """Sizes of the splits."""

    @abstractmethod
    def photographs(self) -> list[NDArray[np.uint8]]:
        """The photographs, (height, width) or (height, width, 3)."""

    def load(self) -> trilemma.Splits:
        """Load the splits. Raises DataError if a split needs more patches than there are."""
        grays = [gray(image) for image in self.photographs()]
        state = np.random.RandomState(self.config.data_seed)
        parts = []
        sizes = {"train": self.config.n_train, "valid": self.config.n_valid, "test": self.config.n_test}
        for index, (label, size) in enumerate(sizes.items()):
            levels = np.concatenate([patches_of(image[:, columns(image.shape[1])[index]]) for image in grays])
            if size > len(levels):
                raise trilemma.DataError(
                    f"dataset '{self.name}': n_{label}={size}, but there are only {len(levels)} patches"
                )
            chosen = levels[state.permutation(len(levels))[:size]]
            x = without_mean(chosen, state.uniform(size=chosen.shape))
            parts.append(torch.from_numpy(x.astype(np.float32)))
        return trilemma.Splits(*parts)


class Patches(PhotographPatches):
    """Gray 8 x 8 patches of two photographs, with 63 coordinates, prepared as in BSDS300.

    Patches are dequantized, their mean is subtracted, and the last pixel is dropped. They are split in space, so that
    no pixel is in two splits: the left 66 % of each photograph is for training, the next 9 % for validation, and the
    right 25 % for test, with 8 pixels left out in between. Patches of one split overlap and are not independent, so
    intervals on this dataset are too narrow.
    """

    name = "patches"
    title = "Natural image patches"
    source = "china.jpg (danielbuechele) and flower.jpg (vultilion), as they come with scikit-learn"
    license = "CC BY 2.0"

    def photographs(self) -> list[NDArray[np.uint8]]:
        from sklearn.datasets import load_sample_images

        return list(load_sample_images().images)
