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
    """A metric: turns an evaluation into one or more results.

    `stage` says what it looks at: `likelihood` (the trained model's log-densities; once per cell), `training` (what
    training cost; once per cell) or `sampling` (draws; once for each sampler setting).
    """

    name: ClassVar[str]
    stage: ClassVar[Literal["likelihood", "training", "sampling"]] = "sampling"

    quantities: ClassVar[tuple[Quantity, ...]] = ()
    """What it says of its numbers; `quantity.result(...)` makes results of them."""
    compares: ClassVar[bool] = True
    """False for metrics of cost, which judge nothing by real data: the self-tests of distances do not apply."""
    symmetric: ClassVar[bool] = False
    """True where exchanging the real and the generated distribution leaves every value the same on average."""

    expected_failures: ClassVar[Mapping[str, str]] = {}
    """Checks of `trilemma check` that it fails by design: name of the check -> why."""

    class Config(records.Config):
        """Options of the metric, such as sample sizes."""

    def __init__(self, config: records.Config | None = None) -> None:
        self.config: Any = self.Config() if config is None else config

    @abstractmethod
    def compute(self, evaluation: Evaluation) -> list[Result]:
        """The results. Raises UnsupportedError where the metric is not defined for this model or dataset."""
