"""The cards of the datasets of a run, and what a user must know of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..errors import DataError
from ..planning.cell import data_id
from ..planning.choices import Choice

_SILENT = "the process that loads the dataset ended without a message"


def read_cards(
    datasets: Sequence[Choice], records: Mapping[str, dict[str, Any] | None], message: Callable[[str], None]
) -> dict[str, dict[str, Any]]:
    """The card of each dataset, or `{"error": message}`, from its record, by its id. `message` is told the remarks.

    Raises DataError if all datasets are files of the user and none can be loaded, so that nothing can run. Other
    datasets may have to be fetched first; what they lack is a failure of their cells.
    """
    cards = {}
    for dataset in datasets:
        record = records[data_id(dataset)] or {"error": _SILENT}
        cards[data_id(dataset)] = record.get("card") or {"error": record.get("error", "")}
    problems = [cards[data_id(dataset)].get("error", "") for dataset in datasets]
    if all(problems) and all(dataset.stamp for dataset in datasets):
        raise DataError("\n".join(dict.fromkeys(problems)))
    for dataset in datasets:
        for remark in cards[data_id(dataset)].get("remarks") or ():
            message(f"{dataset.label}: {remark}")
    return cards
