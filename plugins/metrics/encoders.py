"""Encoders of images: named, hashed, their weights only from a file that the user gives."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import trilemma

Array = NDArray[np.float64]
Kind = Literal["inception-v3", "exported"]

_BATCH = 64  # images encoded at a time: bounds memory


@dataclass(frozen=True)
class Encoder:
    """A map from images (n, channels, height, width) in [0, 1] to features (n, k), and what identifies it."""

    name: str
    sha256: str
    forward: Callable[[Tensor], Tensor]

    def features(self, points: Array, shape: tuple[int, ...]) -> Array:
        """Features of images given as rows `(n, d)` in [0, 1], `shape` the shape of one: `(n, k)`."""
        with torch.no_grad():
            images = torch.from_numpy(points).float().reshape(-1, *shape)
            return torch.cat([self.forward(part).double() for part in torch.split(images, _BATCH)]).numpy()


def load_encoder(kind: Kind, weights: str | None) -> Encoder:
    """The encoder in a file. `exported`: a program saved by `torch.export.save`, whose first dimension is dynamic.
    `inception-v3`: the weights of the network behind the published FID numbers, in torch-fidelity's form.

    Raises UnsupportedError where no file is given or a package is missing, DataError for a file that cannot be read.
    """
    if weights is None:
        raise trilemma.UnsupportedError(
            "the Frechet distance needs an encoder's weights, which are never downloaded: set `weights` to a file, "
            'such as frechet = { encoder = "exported", weights = "encoder.pt2" }'
        )
    path = Path(weights).expanduser()
    if not path.is_file():
        raise trilemma.DataError(f"there is no file {path} with the weights of the encoder")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    try:
        forward = _inception(path) if kind == "inception-v3" else _exported(path)
    except ModuleNotFoundError as error:
        raise _missing(error) from None
    except Exception as error:  # whatever an unreadable file makes the loader raise
        raise trilemma.DataError(f"{path} holds no {kind} encoder: {type(error).__name__}: {error}") from error
    return Encoder(f"{kind}:{path.stem}", digest, forward)


def feature_distances(*, real: Array, generated: Array) -> tuple[float, float]:
    """Frechet distance (Heusel et al. 2017) and kernel distance (Binkowski et al. 2018) of features, each `(n, k)`.

    The first is W2^2 of the Gaussians with the same means and covariances, biased by a finite n; the second an unbiased
    squared MMD under the cubic kernel (x'y / k + 1)^3. Raises UnsupportedError where torchmetrics is missing.
    """
    try:
        from torchmetrics.image.fid import FrechetInceptionDistance
        from torchmetrics.image.kid import KernelInceptionDistance
    except ModuleNotFoundError as error:
        raise _missing(error) from None
    frechet: Any = FrechetInceptionDistance(feature=_Given(real.shape[1])).set_dtype(torch.float64)
    size = min(len(real), len(generated))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the memory that it takes: the features are there already
        kernel: Any = KernelInceptionDistance(feature=_Given(real.shape[1]), subsets=1, subset_size=size)
    for features, is_real in ((real, True), (generated, False)):
        for metric in (frechet, kernel):
            metric.update(torch.from_numpy(features), real=is_real)
    with torch.random.fork_rng(devices=[]):  # it shuffles subsets by the global generator
        torch.manual_seed(0)
        return float(frechet.compute()), float(kernel.compute()[0])


class _Given(torch.nn.Module):
    """The identity: features are computed once and handed over."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.num_features = features

    def forward(self, x: Tensor) -> Tensor:
        return x


def _exported(path: Path) -> Callable[[Tensor], Tensor]:
    module: Callable[[Tensor], Tensor] = torch.export.load(path).module()
    return module


def _inception(path: Path) -> Callable[[Tensor], Tensor]:
    from torchmetrics.image.fid import NoTrainInceptionV3

    network = NoTrainInceptionV3("inception-v3-compat", ["2048"], feature_extractor_weights_path=str(path))

    def forward(images: Tensor) -> Tensor:
        color = images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images
        features: Tensor = network((color * 255).round().byte())
        return features

    return forward


def _missing(error: ModuleNotFoundError) -> trilemma.UnsupportedError:
    return trilemma.UnsupportedError(f"{error.name or error} is not installed: pip install 'trilemma[frechet]'")
