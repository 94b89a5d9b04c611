"""The tables of samples of few steps, from docs/few-steps-samples.json.

    python docs/_few_steps_samples.py runs/few-steps runs/few-step-likelihoods

writes that file from the run directories of the two suites.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any

from _markdown import table

import trilemma
from trilemma.reports import numbers

FILE = Path(__file__).parent / "few-steps-samples.json"
QUANTITIES = {
    "within_3_sigma": "within 3 sigma",
    "radius_ks": "spread error (KS)",
    "modes_covered": "modes",
    "witness_energy": "witness energy",
    "nll_gap": "NLL − entropy",
}
"""The numbers of samples, and the gap of the ODE, with their titles."""
MARKS = {suite: f"<!-- few-steps: samples of {suite} -->" for suite in ("few-steps", "few-step-likelihoods")}
"""Where the page shows the samples of each suite."""

Row = dict[str, Any]


def stored() -> list[Row]:
    """The stored numbers, each a quantity of a model (`label`) with a number of evaluations, for its seeds."""
    rows: list[Row] = json.loads(FILE.read_text(encoding="utf-8"))
    return rows


def fill(markdown: str) -> str:
    """The page with the tables of samples."""
    for suite, mark in MARKS.items():
        markdown = markdown.replace(mark, samples([row for row in stored() if row["suite"] == suite]))
    return markdown


def samples(rows: list[Row]) -> str:
    """The medians over the training seeds, a line for each model and number of evaluations."""
    rows = [
        row for row in rows if row["quantity"] in ("within_3_sigma", "radius_ks", "modes_covered", "witness_energy")
    ]
    columns = list(dict.fromkeys((row["dataset"], row["quantity"]) for row in _in_order(rows)))
    lines = []
    for label, evaluations in dict.fromkeys((row["label"], row["evaluations"]) for row in _in_order(rows)):
        own = [row for row in rows if (row["label"], row["evaluations"]) == (label, evaluations)]
        cells = [middle(row for row in own if (row["dataset"], row["quantity"]) == column) for column in columns]
        lines.append([f"`{label}`", str(evaluations), *cells])
    titles = [f"{dataset}: {QUANTITIES[quantity]}" for dataset, quantity in columns]
    return table(["Model", "Evaluations", *titles], lines)


def middle(rows: Iterable[Row]) -> str:
    """The median of some numbers; "" without one."""
    values = [value for row in rows for value in row["values"]]
    return numbers.plain(median(values)) if values else ""


def _in_order(rows: list[Row]) -> list[Row]:
    datasets = ["ring8", "grid25"]
    order = list(QUANTITIES)
    labels = list(dict.fromkeys(row["label"] for row in rows))
    return sorted(
        [row for row in rows if row["dataset"] in datasets],
        key=lambda row: (
            labels.index(row["label"]),
            row["evaluations"],
            datasets.index(row["dataset"]),
            order.index(row["quantity"]),
        ),
    )


def read(run: Path) -> list[Row]:
    """The numbers of a run: those of samples of a fixed number of evaluations, and the gap of the ODE."""
    suite = json.loads((run / "run.json").read_text(encoding="utf-8"))["runs"][-1]["suite"]["name"]
    frame = trilemma.load_results(run)
    frame = frame[(frame["outcome"] == "ok") & frame["metric"].isin(list(QUANTITIES)) & ~frame["control"].astype(bool)]
    found: dict[tuple[str, ...], Row] = {}
    for row in frame.sort_values("seed", kind="stable").itertuples():
        gap = row.metric == "nll_gap"
        if row.likelihood != "ode" if gap else not row.nfe > 0:
            continue
        about = {"suite": suite, "dataset": str(row.dataset), "label": str(row.label)}
        about |= {"evaluations": 0 if gap else int(row.nfe), "quantity": str(row.metric)}
        own = found.setdefault(tuple(map(str, about.values())), {**about, "seeds": [], "values": []})
        own["seeds"].append(int(row.seed))
        own["values"].append(round(float(row.value), 6))
    return list(found.values())


def main() -> None:
    """Read the command line and write the file."""
    parser = argparse.ArgumentParser(description="Store the numbers of samples of few steps.")
    parser.add_argument("runs", nargs="+", type=Path, help="run directories of few-steps and few-step-likelihoods")
    rows = [row for run in parser.parse_args().runs for row in read(run)]
    FILE.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
