"""Frechet and kernel distances between the features of images under a given encoder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

import trilemma

from .encoders import Kind, feature_distances, load_encoder
from .samples import DrawsConfig, SampleSets
from .two_sample import summary
from .wasserstein import CorrectedDistance

Array = NDArray[np.float64]


class Frechet(CorrectedDistance):
    """Frechet and kernel distances of image features (FID and KID, if the encoder is the Inception network).

    `frechet` is biased at finite n. Models are ranked by `frechet_excess`, in which this bias cancels, and by
    `kernel_distance`, which is unbiased. The name and hash of the encoder are part of each result, because distances
    under different encoders cannot be compared. The metric needs the extra `frechet`. Raises UnsupportedError for
    vectors and if no weights are given, DataError for a file that holds no encoder.
    """

    name = "frechet"
    expected_failures = {"checked": "it needs images, and metrics are checked on points in the plane"}
    power = 1
    resampled = False
    quantities = (
        trilemma.Quantity(name="frechet", title="Fréchet distance", group="quality", ranks=False),
        trilemma.Quantity(name="frechet_excess", title="Fréchet excess V", group="quality", least=0),
        trilemma.Quantity(
            name="kernel_distance", title="Kernel distance", group="quality", place="more", unbiased=True
        ),
    )

    class Config(DrawsConfig):
        """Sizes of the sample sets, and the encoder."""

        draws: int = Field(4, ge=2, description="independent sample sets drawn from the model")
        encoder: Kind = Field(
            "inception-v3", description="kind of encoder; 'exported' is a program saved by torch.export.save"
        )
        weights: str | None = Field(None, description="file with the weights of the encoder; trilemma downloads none")

    def compute(self, evaluation: trilemma.Evaluation) -> list[trilemma.Result]:
        dataset = evaluation.dataset
        if dataset.kind != "image":
            raise trilemma.UnsupportedError(f"the metric frechet needs images, but '{dataset.name}' holds vectors")
        encoder = load_encoder(self.config.encoder, self.config.weights)
        self.encoder = {"encoder": encoder.name, "encoder_sha256": encoder.sha256}
        sets = SampleSets.of(evaluation, self.config.n, self.config.draws)
        encoded = replace(
            sets,
            real=[encoder.features(points, dataset.shape) for points in sets.real],
            generated=[encoder.features(points, dataset.shape) for points in sets.generated],
        )
        values, floors = self.over(encoded.pairs, evaluation), self.floors(encoded, evaluation)
        kernel = summary(
            self.quantities[2],
            [value["kernel"] for value in values],
            {pair: floor["kernel"] for pair, floor in floors.items()},
            encoded,
            self.encoder,
            evaluation.dim,
        )
        return [*self.corrected(encoded, values, evaluation), kernel]

    def compare(self, real: Array, generated: Array, evaluation: trilemma.Evaluation) -> Mapping[str, float]:
        frechet, kernel = feature_distances(real=real, generated=generated)
        return {"powered": frechet, "kernel": kernel}

    def powered(self, real: Array, generated: Array) -> float:
        return feature_distances(real=real, generated=generated)[0]

    def details(self, evaluation: trilemma.Evaluation) -> dict[str, Any]:
        return dict(self.encoder)
