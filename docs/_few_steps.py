"""The figures and tables of the page on likelihoods by few steps, from docs/few-steps.json.

    python docs/_few_steps.py runs/few-step-likelihoods runs/few-step-digits

writes that file from the run directories of the two suites (either may be left out) and from their trained models.
With --keep, the stored figures of other models and datasets stay. With --masses, stored masses that are not told are
measured again at the trained models, and nothing else.
"""

from __future__ import annotations

import argparse
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from statistics import median

import _few_steps_samples
from _few_steps_evidence import METHODS, Value, shown
from _few_steps_read import Record, at_own_samples, masses_again, read
from _line_figure import Line, Panel, figure
from _markdown import table

from trilemma.reports import numbers

FILE = Path(__file__).parent / "few-steps.json"
MADE_MARK, SHOWN_MARK, PENALTY_MARK, RESULTS_MARK = (
    f"<!-- few-steps: {what} -->" for what in ("made", "shown", "penalty", "results")
)
"""Where docs/few-step-likelihoods.md says how its figures were made and what they show, and where it shows them."""

QUANTITIES = {
    "nll_gap": "NLL − entropy [nats]",
    "nll": "NLL [bits/dim]",
    "mass": "Mass",
    "own": "Mean log(q / p) at samples of the ODE [nats]",
}
RIGHT = {"nll_gap": 0.0, "mass": 1.0, "own": 0.0, "nll": math.log2(270) / 64}
"""The value of a density, or its limit; for the NLL that of the 270 test images of digits, which have 64 pixels.

The probabilities of N different images add up to at most 1, so that their mean log2 is at most -log2 N.
"""
NO_DENSITY = "Shown to be no density"


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
    filled = {
        MADE_MARK: made(record["runs"]),
        SHOWN_MARK: counts(record["values"]),
        PENALTY_MARK: penalties(record["values"]),
        RESULTS_MARK: results,
    }
    for mark, text in filled.items():
        markdown = markdown.replace(mark, text)
    return _few_steps_samples.fill(markdown)


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
        told = {value.quantity for value in here if value.value is not None or value.low is not None}
        names = [name for name in QUANTITIES if name in told]
        if "nll_gap" in names:
            names.remove("nll") if "nll" in names else None
        panels = [Panel(QUANTITIES[name], lines_of(here, name), RIGHT.get(name)) for name in names]
        yield f"### {dataset}, `{model}`"
        yield f"<div>{figure(f'{model} on {dataset}', panels)}</div>"  # inside a block, Markdown leaves it as it is
        yield table_of(here, names)
        if said := untold(here):
            yield said


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
                if value.quantity == quantity and value.value is not None:
                    found.setdefault(None if kind == "ode" else value.steps, []).append(value.value)
            lines.append(Line(own[0].label, color, penalty > 0, found))
    return lines


def table_of(values: list[Value], names: list[str]) -> str:
    """The medians over the seeds, with the least and the largest value, and for how many seeds they are no density."""
    trained = {value.label: _trainings(values, value.penalty) for value in values}
    rows = []
    for label, steps, same in _settings(values):
        cells = [_spread([value for value in same if value.quantity == name], trained[label]) for name in names]
        seeds, _ = shown(same)
        rows.append([label, str(steps), *cells, f"{len(seeds)} of {trained[label]}"])
    return table(["Likelihood", "Steps", *(QUANTITIES[name] for name in names), NO_DENSITY], rows)


def counts(values: list[Value]) -> str:
    """For each dataset, model and likelihood by few steps: for how many trainings it is shown to be of no density."""
    few = [value for value in values if value.kind != "ode"]
    columns = sorted({value.steps for value in few})
    rows = []
    for dataset, model in dict.fromkeys((value.dataset, value.model) for value in few):
        here = [value for value in few if (value.dataset, value.model) == (dataset, model)]
        cells: dict[str, dict[int, str]] = {}
        for label, steps, same in _settings(here):
            seeds, _ = shown(same)
            cells.setdefault(label, {})[steps] = f"{len(seeds)} of {_trainings(here, same[0].penalty)}"
        rows += [[dataset, f"`{model}`", label, *(own.get(k, "") for k in columns)] for label, own in cells.items()]
    steps = [f"{k} step{'s' * (k > 1)}" for k in columns]
    return table(["Dataset", "Model", "Likelihood", *steps], rows) if rows else ""


def penalties(values: list[Value]) -> str:
    """What the penalty changes at the same seed and number of steps, by whether the 95 % intervals are apart.

    A mass that is not told is above its lower limit.
    """
    few = [value for value in values if value.kind != "ode" and value.quantity in ("mass", "nll_gap")]
    rows = []
    for key in dict.fromkeys((value.dataset, value.model, value.kind, value.quantity) for value in _in_order(few)):
        same = [value for value in few if (value.dataset, value.model, value.kind, value.quantity) == key]
        found = Counter(changed(same))
        if found:
            cells = [str(found[what]) for what in ("lower", "not told apart", "higher", "not told")]
            rows.append([key[0], f"`{key[1]}`", METHODS[key[2]][0], QUANTITIES[key[3]], *cells])
    header = ["Dataset", "Model", "Likelihood", "Number", "Lower", "Intervals overlap", "Higher", "Not told"]
    return table(header, rows) if rows else ""


def changed(values: list[Value]) -> Iterator[str]:
    """How one number with the penalty compares with that without it, for each seed and number of steps."""
    pairs: dict[tuple[int, int], dict[bool, Value]] = {}
    for value in values:
        pairs.setdefault((value.steps, value.seed), {})[value.penalty > 0] = value
    for pair in pairs.values():
        (low, high), (low_with, high_with) = (_reach(pair.get(penalty)) for penalty in (False, True))
        unsure = math.inf in (high, high_with)
        apart = "lower" if high_with < low else "higher" if low_with > high else ""
        yield apart or ("not told" if unsure else "not told apart")


def _reach(value: Value | None) -> tuple[float, float]:
    """The 95 % interval of a number; from its lower limit on, if it is not told."""
    if value is None or value.low is None:
        return -math.inf, math.inf
    return value.low, math.inf if value.high is None else value.high


def untold(values: list[Value]) -> str:
    """A sentence on the masses that are not told, with the reasons; "" if all are told."""
    masses = [value for value in values if value.quantity == "mass"]
    why = Counter(re.sub(r"only \d+ effective points", "too few effective points", v.why) for v in masses if v.why)
    if not why:
        return ""
    reasons = ", ".join(f"{reason} ({number})" for reason, number in why.most_common())
    return f"Of {len(masses)} masses, {sum(why.values())} are not told: {reasons}."


def _settings(values: list[Value]) -> Iterator[tuple[str, int, list[Value]]]:
    """The values of each likelihood and number of steps, with its label."""
    groups: dict[tuple[str, int], list[Value]] = {}
    for value in _in_order(values):
        groups.setdefault((value.label, value.steps), []).append(value)
    yield from ((label, steps, same) for (label, steps), same in groups.items())


def _in_order(values: list[Value]) -> list[Value]:
    kinds = list(METHODS)
    return sorted(values, key=lambda value: (kinds.index(value.kind), value.penalty, value.steps))


def _trainings(values: list[Value], penalty: float) -> int:
    return len({value.seed for value in values if value.penalty == penalty})


def _spread(found: list[Value], trainings: int) -> str:
    """The median, the least and the largest value, and how many trainings have one, if not all do."""
    told = [value.value for value in found if value.value is not None]
    if not found:
        return ""
    text = "not told"
    if told:
        middle, low, high = (numbers.plain(value) for value in (median(told), min(told), max(told)))
        text = middle if len(told) == 1 else f"{middle} ({low} to {high})"
    text += f", {len(told)} of {trainings}" if 0 < len(told) < trainings else ""
    least = [numbers.plain(value.low) for value in found if value.value is None and value.low]
    return text + (f"; at least {', '.join(least)}" if least else "")


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
    write(record)


def tell_masses(runs: list[Path]) -> None:
    """Measure stored masses that are not told again at the trained models of runs, and write the file."""
    record = stored()
    for run in runs:
        record["values"] = masses_again(run, record["values"])
    write(record)


def write(record: Record) -> None:
    """Write the file."""
    lines = [
        json.dumps({name: x for name, x in asdict(value).items() if name != "why" or x}) for value in record["values"]
    ]
    head = f'{{"runs": {json.dumps(record["runs"])},\n"values": [\n'
    FILE.write_text(head + ",\n".join(lines) + "\n]}\n", encoding="utf-8")


def main() -> None:
    """Read the command line and write the file."""
    parser = argparse.ArgumentParser(description="Store the figures of the page on likelihoods by few steps.")
    parser.add_argument("runs", nargs="+", type=Path, help="run directories of few-step-likelihoods, few-step-digits")
    parser.add_argument("--no-own", action="store_true", help="leave out the comparison at samples of the ODE")
    parser.add_argument("--keep", action="store_true", help="keep the stored figures of other models and datasets")
    parser.add_argument("--masses", action="store_true", help="only measure again stored masses that are not told")
    asked = parser.parse_args()
    if asked.masses:
        tell_masses(asked.runs)
    else:
        store(asked.runs, not asked.no_own, asked.keep)


if __name__ == "__main__":
    main()
