"""The figures and tables of the page on likelihoods by few steps, from docs/few-steps.json.

    python docs/_few_steps.py runs/few-step-likelihoods runs/few-step-digits

writes that file from the run directories of the two suites (either may be left out) and from their trained models.
With --keep, the stored figures of other models and datasets stay.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from _line_figure import Line, Panel, figure
from _markdown import table

import trilemma
from trilemma.reports import numbers

FILE = Path(__file__).parent / "few-steps.json"
MADE_MARK, RESULTS_MARK = "<!-- few-steps: made -->", "<!-- few-steps: results -->"
"""Where docs/few-step-likelihoods.md says how its figures were made, and where it shows them."""

METHODS = {"ode": ("ODE", "#757575"), "estimate": ("head", "#3f51b5"), "map": ("Jacobian", "#d2691e")}
"""The word and the color of the likelihoods, by their kind."""
QUANTITIES = {
    "nll_gap": "NLL − entropy [nats]",
    "nll": "NLL [bits/dim]",
    "mass": "Mass",
    "own": "Mean log q − log p at samples of the ODE [nats]",
}
RIGHT = {"nll_gap": 0.0, "mass": 1.0, "own": 0.0, "nll": math.log2(270) / 64}
"""The value of a density, or its limit; for the NLL that of the 270 test images of digits, which have 64 pixels.

The probabilities of N different images add up to at most 1, so that their mean log2 is at most -log2 N.
"""
OWN_POINTS = {"vector": 2000, "image": 200}
"""Samples of the ODE at which the other likelihoods are compared with it."""


@dataclass(frozen=True)
class Value:
    """One number of one training: a quantity of one likelihood (`kind`) with `steps` steps."""

    suite: str
    model: str
    dataset: str
    penalty: float
    seed: int
    kind: str
    steps: int
    quantity: str
    value: float
    low: float | None
    high: float | None

    @property
    def label(self) -> str:
        """The likelihood in words, with the penalty that the map was trained with."""
        return METHODS[self.kind][0] + (", with penalty" if self.penalty else "")


Record = dict[str, Any]


def stored() -> Record:
    """The stored runs and values; empty lists if nothing was measured yet."""
    if not FILE.exists():
        return {"runs": [], "values": []}
    record: Record = json.loads(FILE.read_text(encoding="utf-8"))
    return {"runs": record["runs"], "values": [Value(**value) for value in record["values"]]}


def fill(markdown: str) -> str:
    """The page with what is stored, or with a sentence that says that nothing was measured."""
    record = stored()
    results = "\n\n".join(sections(record["values"])) or "Not measured yet: there are no figures to show."
    return markdown.replace(MADE_MARK, made(record["runs"])).replace(RESULTS_MARK, results)


def made(runs: Iterable[Record]) -> str:
    """How the figures were made."""
    lines = []
    for run in runs:
        seeds = ", ".join(map(str, run["seeds"]))
        steps = ", ".join(f"{count:,} on {name}" for name, count in run["steps"].items())
        models = ", ".join(f"`{name}`" for name in run["models"])
        lines.append(
            f"- `trilemma run {run['suite']}`: {models}, {run['budget']}, seeds {seeds}; median training steps: {steps}"
        )
    if not lines:
        return "Nothing has been measured yet. The commands above make the figures."
    return "The figures below are from these runs:\n\n" + "\n".join(lines)


def sections(values: list[Value]) -> Iterator[str]:
    """For each dataset and model their figure, and a table of their medians."""
    for dataset, model in dict.fromkeys((value.dataset, value.model) for value in values):
        here = [value for value in values if (value.dataset, value.model) == (dataset, model)]
        shown = [name for name in QUANTITIES if any(value.quantity == name for value in here)]
        if "nll_gap" in shown:
            shown.remove("nll") if "nll" in shown else None
        panels = [Panel(QUANTITIES[name], lines_of(here, name), RIGHT.get(name)) for name in shown]
        yield f"### {dataset}, `{model}`"
        yield f"<div>{figure(f'{model} on {dataset}', panels)}</div>"  # inside a block, Markdown leaves it as it is
        yield table_of(here, shown)


def lines_of(values: list[Value], quantity: str) -> list[Line]:
    """A line for each likelihood and penalty. The ODE, whose number of steps is large, is a level."""
    lines = []
    for kind, (_, color) in METHODS.items():
        for penalty in sorted({value.penalty for value in values}):
            own = [value for value in values if (value.kind, value.penalty) == (kind, penalty)]
            if not own:
                continue
            found: dict[float | None, list[float]] = {}
            for value in own:
                if value.quantity == quantity:
                    found.setdefault(None if kind == "ode" else value.steps, []).append(value.value)
            lines.append(Line(own[0].label, color, penalty > 0, found))
    return lines


def table_of(values: list[Value], shown: list[str]) -> str:
    """The medians over the seeds, with the least and the largest value."""
    rows = []
    for key in dict.fromkeys((value.label, value.kind, value.steps) for value in _in_order(values)):
        cells = []
        for quantity in shown:
            found = [v.value for v in values if (v.label, v.kind, v.steps) == key and v.quantity == quantity]
            cells.append(_spread(found))
        rows.append([key[0], str(key[2]), *cells])
    return table(["Likelihood", "Steps", *(QUANTITIES[name] for name in shown)], rows)


def _in_order(values: list[Value]) -> list[Value]:
    kinds = list(METHODS)
    return sorted(values, key=lambda value: (kinds.index(value.kind), value.penalty, value.steps))


def _spread(found: list[float]) -> str:
    if not found:
        return ""
    middle, low, high = (numbers.plain(value) for value in (median(found), min(found), max(found)))
    return middle if len(found) == 1 else f"{middle} ({low} to {high})"


# The file


def store(runs: list[Path], own: bool, keep: bool) -> None:
    """Write the file from finished runs. With `keep`, the stored figures of other models and datasets stay in it."""
    record: Record = stored() if keep else {"runs": [], "values": []}
    for run in runs:
        about, values = read(run)
        fresh = {(value.suite, value.model, value.dataset) for value in values}
        old = [value for value in record["values"] if (value.suite, value.model, value.dataset) not in fresh]
        record["runs"].append(about)
        record["values"] = old + values + (list(at_own_samples(run, values)) if own else [])
    lines = [json.dumps(asdict(value)) for value in record["values"]]
    head = f'{{"runs": {json.dumps(record["runs"])},\n"values": [\n'
    FILE.write_text(head + ",\n".join(lines) + "\n]}\n", encoding="utf-8")


def flow_maps(run: Path) -> Any:
    """The frame of the results of flow maps, which are the models with the penalty as an option."""
    frame = trilemma.load_results(run)
    penalties = [json.loads(str(config)).get("invertibility") for config in frame["config"]]
    return frame.assign(penalty=penalties)[[penalty is not None for penalty in penalties]]


def read(run: Path) -> tuple[Record, list[Value]]:
    """What a run was, and the numbers of its flow maps."""
    frame = flow_maps(run)
    frame = frame[frame["outcome"] == "ok"]
    suite = json.loads((run / "run.json").read_text(encoding="utf-8"))["runs"][-1]["suite"]["name"]
    steps = frame.groupby("dataset", sort=False)["steps"].median()
    about = {
        "suite": suite,
        "models": [str(name) for name in frame["model"].unique()],
        "budget": ", ".join(frame["budget"].unique()),
        "seeds": sorted(int(seed) for seed in frame["seed"].unique()),
        "steps": {str(name): int(count) for name, count in steps.items()},
    }
    values = []
    for row in frame[frame["metric"].isin(list(QUANTITIES))].itertuples():
        details = json.loads(row.details)
        values.append(
            Value(
                suite=suite,
                model=str(row.model),
                dataset=str(row.dataset),
                penalty=float(row.penalty),
                seed=int(row.seed),
                kind=str(row.likelihood),
                steps=int(details["steps"]),
                quantity=str(row.metric),
                value=_number(row.value),
                low=_bound(row.ci_low),
                high=_bound(row.ci_high),
            )
        )
    return about, values


def at_own_samples(run: Path, values: list[Value]) -> Iterator[Value]:
    """For each training, the mean of log q - log p at samples of its ODE, whose density is p."""
    from _few_steps_own import excess_at_own_samples

    for row in flow_maps(run).drop_duplicates("cell").itertuples():
        key = (row.model, row.dataset, row.penalty, row.seed)
        same = [value for value in values if (value.model, value.dataset, value.penalty, value.seed) == key]
        if not same:
            continue
        trained = trilemma.load_model(run, row.cell)
        model: Any = trained.model
        pairs = list(dict.fromkeys((value.kind, value.steps) for value in _in_order(same) if value.kind != "ode"))
        info = trilemma.DataInfo(
            name=row.dataset,
            kind="vector" if trained.levels is None else "image",
            shape=trained.shape,
            n_train=1,
            levels=trained.levels,
        )
        method = {"estimate": "head", "map": "jacobian"}
        settings = [{"method": method[kind], "steps": steps} for kind, steps in pairs]
        found = excess_at_own_samples(model, info, settings, OWN_POINTS[info.kind])
        for (kind, steps), (value, low, high) in zip(pairs, found, strict=True):
            told: Any = {"value": _number(value), "low": _bound(low), "high": _bound(high)}
            yield replace(same[0], kind=kind, steps=steps, quantity="own", **told)


def _number(value: Any) -> float:
    return round(float(value), 6)


def _bound(value: Any) -> float | None:
    return None if value is None or math.isnan(float(value)) else _number(value)


def main() -> None:
    """Read the command line and write the file."""
    parser = argparse.ArgumentParser(description="Store the figures of the page on likelihoods by few steps.")
    parser.add_argument("runs", nargs="+", type=Path, help="run directories of few-step-likelihoods, few-step-digits")
    parser.add_argument("--no-own", action="store_true", help="leave out the comparison at samples of the ODE")
    parser.add_argument("--keep", action="store_true", help="keep the stored figures of other models and datasets")
    asked = parser.parse_args()
    store(asked.runs, not asked.no_own, asked.keep)


if __name__ == "__main__":
    main()
