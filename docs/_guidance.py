"""The figure on autoguidance, from docs/guidance.json.

    python docs/_guidance.py runs/scores

writes that file from a finished run of `scores`.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from _line_figure import Line, Panel, figure
from _markdown import table

import trilemma
from trilemma.reports import numbers

FILE = Path(__file__).parent / "guidance.json"
MARK = "<!-- guidance: results -->"
"""Where docs/suites.md shows the figure."""

MODEL, SETTING = "edm", re.compile(r"heun-angle\(steps=18(?:, guidance=(?P<weight>[\d.]+))?\)")
"""The model, and the labels of its sampler's settings."""
QUANTITIES = {
    "within_3_sigma": "Samples within 3σ of a mode",
    "mode_spread": "Spread in modes over the true one",
    "witness_energy": "Witness energy",
}
RIGHT = {"within_3_sigma": 0.989, "mode_spread": 1.0, "witness_energy": None}
"""The value of the true distribution. That of the witness energy, 0, has no place on a logarithmic axis."""
COLORS = {"ring8": "#3f51b5", "grid25": "#d2691e"}


def fill(markdown: str) -> str:
    """The page with the figure and its table, or with a sentence that says that nothing was measured."""
    found = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else []
    return markdown.replace(MARK, "\n\n".join(section(found)) if found else "Not measured yet.")


def section(found: list[dict[str, Any]]) -> Iterator[str]:
    """The figure, and a table of the medians of the seeds."""
    settings = [(name, stable) for name in COLORS for stable in (False, True)]
    panels = []
    for quantity, title in QUANTITIES.items():
        lines = [
            Line(label(name, stable), COLORS[name], stable, by_weight(found, name, stable, quantity))
            for name, stable in settings
        ]
        panels.append(Panel(title, lines, RIGHT[quantity], across="weight"))
    yield f"<div>{figure('autoguidance', panels)}</div>"  # inside a block, Markdown leaves it as it is
    rows = []
    for name, stable in settings:
        columns = [by_weight(found, name, stable, quantity) for quantity in QUANTITIES]
        weights = sorted(weight for weight in columns[0] if weight is not None)
        rows += [
            [label(name, stable), f"{weight:g}", *(numbers.plain(median(column[weight])) for column in columns)]
            for weight in weights
        ]
    yield table(["Dataset", "Weight", *QUANTITIES.values()], rows)


def label(dataset: str, stable: bool) -> str:
    """The words for a dataset and the targets of training."""
    return dataset + (", stable targets" if stable else "")


def by_weight(
    found: list[dict[str, Any]], dataset: str, stable: bool, quantity: str
) -> dict[float | None, list[float]]:
    """The values of the seeds by the weight of guidance."""
    values: dict[float | None, list[float]] = {}
    for row in found:
        if (row["dataset"], row["stable"], row["quantity"]) == (dataset, stable, quantity):
            values.setdefault(row["weight"], []).append(row["value"])
    return values


def read(run: Path) -> list[dict[str, Any]]:
    """The numbers of the sampler at each weight, a row for each training."""
    frame = trilemma.load_results(run)
    frame = frame[(frame["model"] == MODEL) & (frame["outcome"] == "ok") & frame["metric"].isin(list(QUANTITIES))]
    rows = []
    for row in frame.itertuples():
        setting, name = SETTING.fullmatch(str(row.sampler)), str(row.dataset).partition("(")[0]
        if setting and name in COLORS:
            rows.append(
                {
                    "dataset": name,
                    "stable": bool(json.loads(str(row.config))["stable_targets"]),
                    "seed": int(row.seed),
                    "weight": float(setting["weight"] or 0),
                    "quantity": row.metric,
                    "value": round(float(row.value), 6),
                }
            )
    return rows


def main() -> None:
    """Read the command line and write the file."""
    parser = argparse.ArgumentParser(description="Store the figures on autoguidance.")
    parser.add_argument("run", type=Path, help="a finished run directory of scores")
    rows = [json.dumps(row) for row in read(parser.parse_args().run)]
    FILE.write_text("[\n" + ",\n".join(rows) + "\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
