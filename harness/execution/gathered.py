"""The records that the results of one metric leave in the store, and the mistakes that keep them out of it."""

from __future__ import annotations

import json
import math
from typing import Any

from ..contracts.metric import Metric
from ..contracts.registration import require_plain
from ..contracts.result import Result
from ..errors import DivergedError, PluginError


class Gathered:
    """The records of the results of one evaluation.

    `known` are the registered metrics. With `standardized`, they see points in units of standard deviations, so what
    they give in data units is in these. A table averages the values that have the same name and likelihood kind, so a
    name belongs to one metric: to the metric that lists it in its quantities, or else to the first that gives it.
    """

    def __init__(self, known: dict[str, type[Metric]], *, standardized: bool = False) -> None:
        self.records: list[dict[str, Any]] = []
        self._units = {"data units": "std. dev."} if standardized else {}
        self._owners = {quantity.name: name for name, cls in known.items() for quantity in cls.quantities}

    def add(self, found: list[Result], metric: Metric, number: int) -> None:
        """Add the results of the metric with this number in the evaluation: all of them, or none if one is mistaken.

        Raises DivergedError for NaN. Raises PluginError for a name that is not plain, that the metric gives twice or
        that belongs to another metric, and for details that JSON cannot hold.
        """
        if nans := [result.metric for result in found if math.isnan(result.value)]:
            raise DivergedError(f"metric '{metric.name}' gave NaN for {', '.join(nans)}")
        self._require_names(found, metric.name)
        named = [quantity.name for quantity in metric.quantities]
        listed = named + [result.metric for result in found if result.metric not in named]
        for result in found:
            record = {**_record(result, metric.name), "order": 100 * number + listed.index(result.metric)}
            self.records.append({**record, "unit": self._units.get(result.unit, result.unit)})
        self._owners |= {result.metric: metric.name for result in found}

    def _require_names(self, found: list[Result], name: str) -> None:
        given = set()
        for result in found:
            require_plain(result.metric, result.title)
            owner = self._owners.get(result.metric, name)
            if owner != name:
                raise PluginError(
                    f"metric '{name}' gave a result named '{result.metric}', which is a result of metric '{owner}';"
                    " give it another name"
                )
            key = (result.metric, result.likelihood or "")
            if key in given:
                kind = f" of the likelihood kind '{result.likelihood}'" if result.likelihood else ""
                raise PluginError(
                    f"metric '{name}' gave two results named '{result.metric}'{kind}; give each a name of its own"
                )
            given.add(key)


def _record(result: Result, name: str) -> dict[str, Any]:
    record = {**result.model_dump(), "computed_by": name}
    try:
        json.dumps(record)
    except (TypeError, ValueError, RecursionError) as error:
        raise PluginError(
            f"metric '{name}' gave details of '{result.metric}' that JSON cannot hold ({error});"
            " use numbers, text, lists and maps"
        ) from None
    return record
