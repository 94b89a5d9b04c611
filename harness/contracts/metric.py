"""The contract of a metric."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from . import config as records

if TYPE_CHECKING:
    from ..evaluation.evaluation import Evaluation
    from .result import Quantity, Result


class Metric(ABC):
    """Base class of metrics. A metric computes one or more results from an evaluation.

    `stage` says what the metric uses: `likelihood` (log-densities of the trained model, once per cell), `training` (the
    cost of training, once per cell), `sampling` (samples, once for each sampler setting) or `timing` (the time that
    sampling takes, for each sampler setting after all cells, while nothing else runs).
    """

    name: ClassVar[str]
    stage: ClassVar[Literal["likelihood", "training", "sampling", "timing"]] = "sampling"

    quantities: ClassVar[tuple[Quantity, ...]] = ()
    """The quantities that the metric gives. `quantity.result(...)` makes a result."""
    compares: ClassVar[bool] = True
    """False for metrics that do not compare samples with real data, such as costs. Checks of distances do not apply."""
    symmetric: ClassVar[bool] = False
    """True if exchanging the real and the generated distribution leaves every value the same on average."""

    expected_failures: ClassVar[Mapping[str, str]] = {}
    """Checks of `trilemma check` that the metric fails by design, as a map from the check to the reason."""

    class Config(records.Config):
        """Options of the metric, such as sample sizes."""

    def __init__(self, config: records.Config | None = None) -> None:
        self.config: Any = self.Config() if config is None else config

    @abstractmethod
    def compute(self, evaluation: Evaluation) -> list[Result]:
        """Compute the results. Raises UnsupportedError if the metric is not defined for this model or dataset."""
