"""Image encoders, identified by name and hash. Their weights come only from a file that the user gives."""

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
    """A map from images (n, channels, height, width) in [0, 1] to features (n, k), with its name and hash."""

    name: str
    sha256: str
    forward: Callable[[Tensor], Tensor]

    def features(self, points: Array, shape: tuple[int, ...]) -> Array:
        """Features `(n, k)` of images given as rows `(n, d)` in [0, 1], where `shape` is the shape of one image."""
        with torch.no_grad():
            images = torch.tensor(points, dtype=torch.float32).reshape(-1, *shape)
            return torch.cat([self.forward(part).double() for part in torch.split(images, _BATCH)]).numpy()


def load_encoder(kind: Kind, weights: str | None) -> Encoder:
    """Load the encoder in the file `weights`.

    A file of kind `exported` is a program saved by `torch.export.save`, whose first dimension is dynamic. A file of
    kind `inception-v3` holds the weights of the network behind the published FID numbers, in the format of
    torch-fidelity. Raises UnsupportedError if no file is given or a package is missing, DataError for a file that
    cannot be read.
    """
    if weights is None:
        raise trilemma.UnsupportedError(
            "the metric frechet needs the weights of an encoder, and trilemma downloads none: set `weights` to a file, "
            'such as frechet = { encoder = "exported", weights = "encoder.pt2" }'
        )
    path = Path(weights).expanduser()
    if not path.is_file():
        raise trilemma.DataError(
            f"the file {path} with the weights of the encoder does not exist: set `weights` to a file"
        )
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

    The Frechet distance is W2^2 between the Gaussians with the same means and covariances; it is biased at finite n.
    The kernel distance is an unbiased squared MMD under the cubic kernel (x'y / k + 1)^3. Raises UnsupportedError if
    torchmetrics is missing.
    """
    try:
        from torchmetrics.image.fid import FrechetInceptionDistance
        from torchmetrics.image.kid import KernelInceptionDistance
    except ModuleNotFoundError as error:
        raise _missing(error) from None
    frechet: Any = FrechetInceptionDistance(feature=_Given(real.shape[1])).set_dtype(torch.float64)
    size = min(len(real), len(generated))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of its memory use, but the features are already in memory
        kernel: Any = KernelInceptionDistance(feature=_Given(real.shape[1]), subsets=1, subset_size=size)
    for features, is_real in ((real, True), (generated, False)):
        for metric in (frechet, kernel):
            metric.update(torch.from_numpy(features), real=is_real)
    with torch.random.fork_rng(devices=[]):  # the kernel distance shuffles subsets with the global generator
        torch.manual_seed(0)
        return float(frechet.compute()), float(kernel.compute()[0])


class _Given(torch.nn.Module):
    """The identity map, because torchmetrics expects a network but gets features that are computed already."""

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
    return trilemma.UnsupportedError(
        f"the metric frechet needs {error.name or error}, which is not installed: pip install 'trilemma[frechet]'"
    )
