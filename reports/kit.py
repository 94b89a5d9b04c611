"""The digest of a run that the built-in sections share."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import Any

import pandas as pd

import trilemma

from .figures import Ink, inks

RUN = ["dataset_id", "label", "model", "control", "budget", "device", "trained_on"]
"""The columns that identify a model in the table of a dataset."""


@dataclass(frozen=True)
class Digest:
    """A run prepared for the built-in sections: its rows, their summary, dataset cards, and styles of models."""

    rows: pd.DataFrame
    superseded: int
    judged: trilemma.Judged
    verdicts: list[dict[str, Any]]
    cards: dict[str, dict[str, Any]]
    inks: dict[str, Ink]
    several_budgets: bool
    several_devices: bool
    several_machines: bool
    anchors: dict[Any, str]
    """The id of the details of each model on a dataset, by its values in the columns `RUN`."""

    @property
    def summary(self) -> pd.DataFrame:
        """The rows of `trilemma.summary_rows`."""
        return self.judged.summary

    @property
    def datasets(self) -> list[str]:
        """The dataset ids in order of appearance."""
        return [name for name in self.rows["dataset_id"].unique() if name]

    def title(self, dataset: str) -> str:
        """The id of a dataset, with its title if the card has one."""
        title = str(self.cards.get(dataset, {}).get("title") or "")
        return f"{dataset}: {title}" if title and title != dataset else dataset

    def run_label(self, row: Any) -> str:
        """The label of a model, with its budget, device and machine of training if the run has several."""
        parts = [str(row.label)]
        parts += [str(row.budget)] if self.several_budgets and row.budget else []
        parts += [str(row.device)] if self.several_devices and row.device else []
        parts += [str(row.trained_on)] if self.several_machines and row.trained_on else []
        return " · ".join(parts)


_digests: dict[int, Digest] = {}


def digest(view: trilemma.RunView) -> Digest:
    """The digest of a run. It is prepared once for each view, so sections must not change it."""
    if id(view) not in _digests:
        _digests[id(view)] = _prepare(view)
        weakref.finalize(view, _digests.pop, id(view), None)
    return _digests[id(view)]


def _prepare(view: trilemma.RunView) -> Digest:
    judged = trilemma.judge(view.frame)
    rows = judged.rows
    models = rows[~rows["control"] & (rows["label"] != "")].drop_duplicates("label")
    return Digest(
        rows=rows,
        judged=judged,
        verdicts=trilemma.verdicts(judged),
        superseded=view.superseded,
        cards=view.cards,
        inks=inks(dict(zip(models["label"], models["family"], strict=True))),
        several_budgets=rows["budget"][rows["budget"] != ""].nunique() > 1,
        several_devices=rows["device"][rows["device"] != ""].nunique() > 1,
        several_machines=rows["trained_on"][rows["trained_on"] != ""].nunique() > 1,
        anchors={key: f"run-{i}" for i, key in enumerate(rows.groupby(RUN, sort=False).groups, 1)},
    )
