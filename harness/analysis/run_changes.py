"""Two run directories, or the newer and the older results of one: what has changed between them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from ..errors import DataError
from ..store.frame import load_frame
from ..store.machines import differing, planned_on
from ..store.store import Store
from .changes import Change, changes
from .frames import uniform_frame
from .summary import summary_rows

_PLACE = ["dataset_id", "budget", "device"]
_MODEL = [*_PLACE, "label"]
_ROW = [*_MODEL, "sampler"]
OTHER_DATA = "trained and tested on other data"
OTHER_MACHINE = "trained on another machine within the same seconds"


@dataclass
class RunChanges:
    """What has changed between two runs. Rows are records with dataset, budget, device, label and sampler setting."""

    before: dict[str, Any]
    """The first run: `path`, and `time` of its latest command."""
    after: dict[str, Any]
    environment: dict[str, list[Any]] = field(default_factory=dict)
    """What differs in the environment: the values before and after."""
    code: dict[str, list[str]] = field(default_factory=dict)
    """Changed code, options and versions of plugins, with the models, datasets or metrics that they concern."""
    changes: list[Change] = field(default_factory=list)
    """The records of `changes`: each line of both runs by each criterion."""
    failed: list[dict[str, Any]] = field(default_factory=list)
    """Rows that fail now, with `outcome`, `phase`, `message`, `seeds`, and `regression`."""
    marked: list[dict[str, Any]] = field(default_factory=list)
    """Rows that must not be ranked now, with `reasons`."""
    lost: list[dict[str, Any]] = field(default_factory=list)
    """Rows of the first run that the second does not have. A whole model has the sampler setting ""."""
    new: list[dict[str, Any]] = field(default_factory=list)
    """Rows of the second run that the first does not have."""
    not_compared: list[dict[str, Any]] = field(default_factory=list)
    """Rows of both that have nothing to compare, with the `reason`."""

    def with_status(self, *statuses: str) -> list[Change]:
        """The changes with one of these statuses."""
        return [record for record in self.changes if record["status"] in statuses]

    @property
    def regressions(self) -> int:
        """How many numbers are worse beyond chance, and how many rows fail or must not be ranked any more."""
        failed = [row for row in self.failed if row["regression"]]
        return len(self.with_status("worse")) + len(failed) + len(self.marked)

    @property
    def decided(self) -> bool:
        """Whether anything could be said: a number was tested or is equal, or a row fails now."""
        return bool(self.regressions or self.with_status("better", "no difference", "equal"))

    def record(self) -> dict[str, Any]:
        """All of it as JSON values."""
        return {**asdict(self), "regressions": self.regressions, "decided": self.decided}


def compare_runs(before: str | Path, after: str | Path | None = None) -> RunChanges:
    """Compare two run directories; without `after`, the superseded results of one with those that replaced them.

    Numbers are compared line by line, by the criteria of `verdicts`. A number is worse only if the change is beyond
    what training seeds and the metric vary by. With a chance of at most 5 %, anything is called worse although nothing
    has changed. Lines are compared on the same dataset, budget and device, and within seconds on the same machine only.

    A row that has failed now, and had results before, is a regression if no seed is left, or if the outcome is `error`.

    Raises StoreError if a directory holds no run, DataError if they have no row in common or nothing was superseded.

    Example:
        >>> import trilemma
        >>> trilemma.compare_runs("runs/before", "runs/after").regressions  # doctest: +SKIP
    """
    one = Store(before)
    two = one if after is None else Store(after)
    runs = [one.run(), two.run()]
    frames = _versions(one, runs[0]) if after is None else (load_frame(one), load_frame(two))
    rows = [uniform_frame(frame) for frame in frames]
    cells = [_cells(run, set(own["cell"])) for run, own in zip(runs, rows, strict=True)]
    about = [{"path": str(store.path), "time": _latest(run, own)["time"]}
             for store, run, own in zip((one, two), runs, cells, strict=True)]  # fmt: skip
    found = RunChanges(about[0], about[1])
    found.environment = differing(_environment(runs[0], cells[0]), _environment(runs[1], cells[1]))
    found.code, other_data = _code(cells[0], cells[1])
    kept = [own[~own["dataset_id"].isin(other_data)] for own in rows]
    found.changes = changes(kept[0], kept[1])
    _compare_rows(found, rows[0], rows[1], other_data)
    return found


def _versions(store: Store, run: dict[str, Any]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The latest superseded results of a run directory, and those of the same models that replaced them."""
    frame = load_frame(store, superseded=True)
    older = frame[frame["superseded"]]
    if older.empty:
        raise DataError(
            f"{store.path} holds one version of every result, so there is nothing to compare; "
            "give a second run directory, or the labels of two models"
        )
    selected = {cell["id"]: cell["run"] for cell in run["cells"]}
    order = older.assign(_run=older["cell"].map(selected)).sort_values("_run", kind="stable")
    latest = order.drop_duplicates([*_ROW, "seed", "metric", "likelihood", "outcome"], keep="last")
    models = pd.MultiIndex.from_frame(older[_MODEL])
    newer = frame[~frame["superseded"] & pd.MultiIndex.from_frame(frame[_MODEL]).isin(models)]
    return latest.drop(columns="_run").assign(superseded=False), newer


def _cells(run: dict[str, Any], ids: set[str]) -> dict[tuple[Any, ...], dict[str, Any]]:
    """The cells of run.json with these ids, by label, dataset, seed, budget and device; the latest of each."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for cell in sorted(run["cells"], key=lambda cell: int(cell["run"])):
        if cell["id"] in ids:
            budget = tuple(sorted(cell["budget"].items()))
            found[cell["model"]["label"], cell["dataset"]["label"], cell["seed"], budget, cell["device"]] = cell
    return found


def _latest(run: dict[str, Any], cells: dict[tuple[Any, ...], dict[str, Any]]) -> dict[str, Any]:
    """The latest run that selected one of these cells."""
    number = max((int(cell["run"]) for cell in cells.values()), default=-1)
    latest: dict[str, Any] = run["runs"][min(number, len(run["runs"]) - 1)]
    return latest


def _environment(run: dict[str, Any], cells: dict[tuple[Any, ...], dict[str, Any]]) -> dict[str, Any]:
    """The environment of the latest cell."""
    if not cells:
        return {}
    latest = max(cells.values(), key=lambda cell: int(cell["run"]))
    return planned_on(run, latest) or _latest(run, cells).get("environment") or {}


def _code(
    before: dict[tuple[Any, ...], dict[str, Any]], after: dict[tuple[Any, ...], dict[str, Any]]
) -> tuple[dict[str, list[str]], set[str]]:
    """What has changed in code, options and data of the cells that both have, and the datasets with other data."""
    found: dict[str, dict[str, None]] = {}
    other_data = set()
    for key in before.keys() & after.keys():
        one, two = before[key], after[key]
        for what, name in _changed(one, two):
            found.setdefault(what, {})[name] = None
        if one.get("data_sha256") and two.get("data_sha256") and one["data_sha256"] != two["data_sha256"]:
            other_data.add(str(one["dataset"]["label"]))
    return {what: sorted(names) for what, names in sorted(found.items())}, other_data


def _changed(one: dict[str, Any], two: dict[str, Any]) -> Iterator[tuple[str, str]]:
    model, dataset = one["model"], one["dataset"]
    versions = [" ".join(filter(None, map((cell["model"]["provenance"] or {}).get, ("distribution", "version"))))
                for cell in (one, two)]  # fmt: skip
    if versions[0] != versions[1]:
        yield f"plugin ({versions[0]}, now {versions[1]})", model["label"]
    if model.get("source") != two["model"].get("source"):
        yield "code of training", model["label"]
    if model["config"] != two["model"]["config"]:
        yield "options of models", model["label"]
    if dataset.get("source") != two["dataset"].get("source"):
        yield "code of datasets", dataset["label"]
    if one.get("data_sha256") != two.get("data_sha256"):
        yield "data", dataset["label"]
    settings = [{_setting(planned): planned for planned in cell["evaluations"]} for cell in (one, two)]
    for setting in settings[0].keys() & settings[1].keys():
        pair = [own[setting] for own in settings]
        if pair[0].get("source") != pair[1].get("source"):
            yield "code of evaluation", f"{model['label']} [{setting[1]}]" if setting[1] else model["label"]
        metrics = [{metric["name"]: metric for metric in planned["metrics"]} for planned in pair]
        for name in metrics[0].keys() & metrics[1].keys():
            for what, key in (("code of metrics", "source"), ("options of metrics", "config")):
                if metrics[0][name].get(key) != metrics[1][name].get(key):
                    yield what, name


def _setting(planned: dict[str, Any]) -> tuple[Any, str]:
    setting = planned["sampler"] or planned.get("likelihood")
    return planned.get("stage"), setting["label"] if setting else ""


def _compare_rows(found: RunChanges, before: pd.DataFrame, after: pd.DataFrame, other_data: set[str]) -> None:
    """Add the rows that fail, are marked, lost, new or not comparable."""
    good = [_results(rows) for rows in (before, after)]
    if not good[0].keys() & good[1].keys() and not {key[:4] for key in good[0]} & {
        tuple(row) for row in after[_MODEL].itertuples(index=False)
    }:
        raise DataError(
            f"{found.before['path']} and {found.after['path']} have no model on the same dataset, budget and device"
        )
    marks = [_marks(rows) for rows in (before, after)]
    compared = {tuple(record[key] for key in ("dataset", "budget", "device", "label", "sampler"))
                for record in found.changes}  # fmt: skip
    found.failed = list(_failed(good, before, after))
    gone = {(*(row[key] for key in ("dataset", "budget", "device", "label")), row["sampler"]) for row in found.failed}
    lost = [key for key in good[0] if key not in good[1] and key not in gone and (*key[:4], "") not in gone]
    found.lost = [_named(key) for key in _whole(lost, good[1])]
    found.new = [_named(key) for key in _whole([key for key in good[1] if key not in good[0]], good[0])]
    found.marked = [
        _named(key) | {"reasons": list(marks[1][key])}
        for key in good[0]
        if key in good[1] and marks[1].get(key) and not marks[0].get(key)
    ]
    for key, places in good[0].items():
        if key in good[1] and key not in compared:
            if key[0] in other_data:
                found.not_compared.append(_named(key) | {"reason": OTHER_DATA})
            elif not places & good[1][key]:
                found.not_compared.append(_named(key) | {"reason": OTHER_MACHINE})


def _results(rows: pd.DataFrame) -> dict[tuple[Any, ...], set[str]]:
    """The rows with results, with the machines that they were trained on."""
    good = rows[(rows["outcome"] == "ok") & (rows["metric"] != "")]
    return {key: set(own["trained_on"]) for key, own in good.groupby(_ROW, sort=False)}


def _marks(rows: pd.DataFrame) -> dict[tuple[Any, ...], tuple[str, ...]]:
    table = summary_rows(rows)
    marks: dict[tuple[Any, ...], tuple[str, ...]] = {}
    row: Any
    for row in table[table["marked"].map(len) > 0].itertuples():
        marks.setdefault(tuple(getattr(row, key) for key in _ROW), row.marked)
    return marks


def _failed(
    good: list[dict[tuple[Any, ...], set[str]]], before: pd.DataFrame, after: pd.DataFrame
) -> Iterator[dict[str, Any]]:
    """The failures of what had results before, for seeds that did not fail then."""
    models = {key[:4] for key in good[0]}
    old, bad = (rows[~rows["outcome"].isin(["ok", "", "unsupported", "interrupted"])] for rows in (before, after))
    seen = pd.MultiIndex.from_frame(old[[*_ROW, "seed"]])
    bad = bad[~pd.MultiIndex.from_frame(bad[[*_ROW, "seed"]]).isin(seen)]
    for key, own in bad.groupby([*_ROW, "outcome", "phase", "message"], sort=False):
        row, (outcome, phase, message) = key[:5], key[5:]
        if row not in good[0] and not (row[4] == "" and row[:4] in models):
            continue
        left = row in good[1] if row[4] else any(other[:4] == row[:4] for other in good[1])
        yield _named(row) | {
            **{"outcome": outcome, "phase": phase, "message": message, "seeds": sorted(map(int, set(own["seed"])))},
            "regression": outcome == "error" or not left,
        }


def _whole(keys: list[tuple[Any, ...]], other: dict[tuple[Any, ...], set[str]]) -> list[tuple[Any, ...]]:
    """Rows, or one row with the sampler setting "" where the other run has nothing of the model."""
    models = {key[:4] for key in other}
    return list(dict.fromkeys(key if key[:4] in models else (*key[:4], "") for key in keys))


def _named(key: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip(("dataset", "budget", "device", "label", "sampler"), key, strict=True))
