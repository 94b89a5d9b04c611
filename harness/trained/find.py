"""Finds a trained cell in a run directory, by the name of its model, by its label or by its id."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ..errors import StoreError, TrilemmaError, did_you_mean
from ..store.store import Store

Cell = dict[str, Any]
MOST_LISTED = 8


def find_trained(
    store: Store, wanted: str | None = None, *, dataset: str | None = None, seed: int | None = None
) -> tuple[Cell, list[str]]:
    """The cell of run.json that is meant, and notes on the choice.

    `wanted` is the label or name of a model, the label of a cell, or the start of its id. `dataset` is the label or
    name of a dataset. Without a seed it is the lowest one, and of several trainings the one that was selected last.
    Raises TrilemmaError if there is no such cell, or if several models or datasets are meant.
    """
    cells = store.run()["cells"]
    cells = _called(store, cells, wanted)
    cells = _of_dataset(cells, wanted, dataset)
    what = "; ".join(dict.fromkeys(_pair(cell) for cell in cells))
    if seed is not None and not any(cell["seed"] == seed for cell in cells):
        raise TrilemmaError(f"{what}: there is no seed {seed}; the seeds are {_listed(c['seed'] for c in cells)}")
    chosen = min(cell["seed"] for cell in cells) if seed is None else seed
    cells = [cell for cell in cells if cell["seed"] == chosen]
    latest = [cell for cell in cells if cell["run"] == max(cell["run"] for cell in cells)]
    if len(latest) > 1:
        ids = _listed(f"{cell['id']} ({cell['label']})" for cell in latest)
        raise TrilemmaError(f"{what}: several trainings are meant; give one of the ids {ids}")
    older = len(cells) - 1
    note = f"of {older + 1} trainings of {what}, seed {chosen}, the one of the latest run is used; an id names another"
    return dict(latest[0]), [note] * bool(older)


def trained_record(store: Store, cell: Cell) -> dict[str, Any]:
    """The record of a cell that ended well. Raises StoreError for damage, and TrilemmaError if it did not end well."""
    found = store.examine("cells", cell["id"], full=True)
    place = f"{cell['label']} (cell {cell['id']} of {store.path})"
    if found.problem:
        raise StoreError(
            f"the trained model of {place} is damaged: {found.problem}. Run the suite again to train it again; "
            f"`trilemma doctor {store.path}` lists all damage"
        )
    record = found.record
    if record is None:
        raise TrilemmaError(f"{place} was planned and not trained; run the suite again to train it")
    if record["outcome"] != "ok":
        reason = str(record["message"]).strip().split("\n")[0]
        well = [other["seed"] for other in _siblings(store, cell) if _ended_well(store, other)]
        hint = f"; seeds that ended well: {_listed(well)}" if well else ""
        raise TrilemmaError(f"{place} has no trained model: {record['outcome']} in {record['phase']}: {reason}{hint}")
    return record


def _called(store: Store, cells: list[Cell], wanted: str | None) -> list[Cell]:
    """The cells that a name means: those of a model, or else the cell with this label or start of an id."""
    if wanted is None:
        return cells
    tests: tuple[Callable[[Cell], bool], ...] = (
        lambda cell: cell["model"]["label"] == wanted,
        lambda cell: cell["model"]["name"] == wanted,
        lambda cell: cell["label"] == wanted,
        lambda cell: f"{cell['model']['name']} on {cell['dataset']['name']}, seed {cell['seed']}" == wanted,
        lambda cell: bool(wanted) and cell["id"].startswith(wanted),
    )
    for test in tests:
        if found := [cell for cell in cells if test(cell)]:
            return found
    known = {cell["model"]["label"] for cell in cells}
    if " on " in wanted:
        known = {cell["label"] for cell in cells}
    hint = did_you_mean(wanted, known)
    raise TrilemmaError(f"{store.path} has no model or cell '{wanted}' ({hint}); give a model, a label or an id")


def _of_dataset(cells: list[Cell], wanted: str | None, dataset: str | None) -> list[Cell]:
    """The cells of one dataset and one model."""
    labels = _labels(cells, "dataset")
    if dataset is not None:
        named = [cell for cell in cells if cell["dataset"]["label"] == dataset]
        named = named or [cell for cell in cells if cell["dataset"]["name"] == dataset]
        if not named:
            what = "a model" if wanted is None else f"'{wanted}'"
            hint = did_you_mean(dataset, {*labels, *(cell["dataset"]["name"] for cell in cells)})
            raise TrilemmaError(f"there is no training of {what} on '{dataset}' ({hint})")
        cells, labels = named, _labels(named, "dataset")
    models = _labels(cells, "model")
    if len(models) > 1:
        several = "there are several models here" if wanted is None else f"'{wanted}' means several models"
        raise TrilemmaError(f"{several}: {_listed(models)}; give one of these labels")
    if len(labels) > 1:
        raise TrilemmaError(f"{models[0]} was trained on several datasets: {_listed(labels)}; give the dataset")
    return cells


def _labels(cells: list[Cell], kind: str) -> list[str]:
    return list(dict.fromkeys(cell[kind]["label"] for cell in cells))


def _pair(cell: Cell) -> str:
    return f"{cell['model']['label']} on {cell['dataset']['label']}"


def _siblings(store: Store, cell: Cell) -> list[Cell]:
    """The trainings of the same model on the same dataset with other seeds, in the same run."""
    key = (_pair(cell), cell["run"])
    return [c for c in store.run()["cells"] if (_pair(c), c["run"]) == key and c["seed"] != cell["seed"]]


def _ended_well(store: Store, cell: Cell) -> bool:
    return (store.record("cells", cell["id"]) or {}).get("outcome") == "ok"


def _listed(values: Iterable[Any]) -> str:
    texts = [str(value) for value in dict.fromkeys(values)]
    more = f" and {len(texts) - MOST_LISTED} more" if len(texts) > MOST_LISTED else ""
    return ", ".join(texts[:MOST_LISTED]) + more
