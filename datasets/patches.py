"""Patches of natural images: the two photographs that come with scikit-learn."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from sklearn.datasets import load_sample_images

import trilemma

_SIDE = 8  # of a patch, and of the gaps between the splits
_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601


def patches_of(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """All overlapping 8 x 8 patches of a grey image, one flattened patch a row."""
    return np.lib.stride_tricks.sliding_window_view(image, (_SIDE, _SIDE)).reshape(-1, _SIDE**2)


def without_mean(levels: NDArray[np.float64], noise: NDArray[np.float64]) -> NDArray[np.float64]:
    """Levels 0 to 255 and noise in (0, 1) to 63 coordinates: scaled to (0, 1), less the patch's mean, last pixel
    dropped (Zoran and Weiss 2011; Papamakarios et al. 2017 for BSDS300).
    """
    x = (levels + noise) / 256
    centred: NDArray[np.float64] = x - x.mean(1, keepdims=True)
    return centred[:, :-1]


class Patches(trilemma.Dataset):
    """Grey 8 x 8 patches of two photographs as 63 coordinates, as BSDS300 is prepared: dequantised, the patch's mean
    removed, the last pixel dropped.

    Split in space, so that no pixel is in two splits: of each photograph the left 66 % for training, then 9 % for
    validation, the right 25 % for test, 8 pixels left out between them. Patches of one split overlap and are not
    independent: intervals on this dataset are too narrow.
    """

    name = "patches"
    title = "Natural image patches"
    source = "china.jpg (danielbuechele) and flower.jpg (vultilion), as they come with scikit-learn"
    license = "CC BY 2.0"
    citation = "Zoran and Weiss 2011, From learning models of natural image patches to whole image restoration"

    class Config(trilemma.Config):
        """Sizes of the splits."""

        n_train: int = Field(20_000, ge=2, le=300_000, description="training patches")
        n_valid: int = Field(5_000, ge=2, le=30_000, description="validation patches")
        n_test: int = Field(20_000, ge=2, le=120_000, description="test patches")
        data_seed: int = Field(0, ge=0, description="seed of the choice of patches and of the dequantisation")

    def load(self) -> trilemma.Splits:
        greys = [np.rint(image @ _LUMA) for image in load_sample_images().images]
        width = greys[0].shape[1]
        first, second = round(0.66 * width), round(0.75 * width)
        columns = (slice(0, first), slice(first + _SIDE, second), slice(second + _SIDE, width))
        sizes = (self.config.n_train, self.config.n_valid, self.config.n_test)
        state = np.random.RandomState(self.config.data_seed)
        parts = []
        for part, size in zip(columns, sizes, strict=True):
            levels = np.concatenate([patches_of(grey[:, part]) for grey in greys])
            chosen = levels[state.permutation(len(levels))[:size]]
            x = without_mean(chosen, state.uniform(size=chosen.shape))
            parts.append(torch.from_numpy(x.astype(np.float32)))
        return trilemma.Splits(*parts)
