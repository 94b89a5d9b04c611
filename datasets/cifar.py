"""CIFAR-10 in its binary version."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

import trilemma

from .archives import extracted
from .download import Downloaded, RemoteFile
from .splitting import SplitConfig

ARCHIVE = RemoteFile(
    "cifar10/cifar-10-binary.tar.gz",
    ("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",),
    "md5:c32a1d4ab5d03f1284b67883e8d87530",
)
_BATCHES = (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin")


def read_batch(path: Path) -> NDArray[np.uint8]:
    """The images (n, 3, 32, 32) in a file of records with one label byte and 3072 pixel bytes. Raises DataError."""
    content = np.fromfile(path, np.uint8)
    if not len(content) or len(content) % 3073:
        raise trilemma.DataError(
            f"{path}: {len(content)} bytes are not a whole number of records of 3073 bytes: fetch it again"
        )
    return content.reshape(-1, 3073)[:, 1:].reshape(-1, 3, 32, 32)


class Cifar10(Downloaded):
    """CIFAR-10: 60,000 color images of ten classes, with 32 x 32 pixels and 256 intensity levels.

    By default, 5,000 training images are held back for validation.
    """

    name = "cifar10"
    kind = "image"
    levels = 256
    logit_alpha = 0.05
    title = "CIFAR-10"
    source = "https://www.cs.toronto.edu/~kriz/cifar.html"
    license = "not stated by its authors"
    citation = "Krizhevsky 2009, Learning multiple layers of features from tiny images"

    class Config(SplitConfig):
        """How the training files are split."""

        n_valid: int = Field(5_000, ge=2, description="training images held back for validation")
        flip: bool = Field(False, description="add the mirror image of every training image")

    @property
    def remote(self) -> dict[str, RemoteFile]:
        return {"archive": ARCHIVE}

    def load(self) -> trilemma.Splits:
        """Load the splits. Raises DataError if the archive is absent or damaged."""
        files = extracted(ARCHIVE, tuple(f"cifar-10-batches-bin/{name}" for name in _BATCHES))
        *batches, test = [torch.from_numpy(read_batch(path)) for path in files]
        images = torch.cat(batches)
        n_valid = self.config.n_valid
        if n_valid > len(images) - 2:
            raise trilemma.DataError(
                f"dataset '{self.name}': n_valid={n_valid} is too large for {len(images)} training images"
            )
        order = torch.from_numpy(self.config.permutation(len(images)))
        train, valid = torch.split(images[order], [len(images) - n_valid, n_valid])
        return trilemma.Splits(torch.cat([train, train.flip(-1)]) if self.config.flip else train, valid, test)
