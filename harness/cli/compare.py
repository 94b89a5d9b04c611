"""The command `trilemma compare`: two models of a run, two runs, or the older and the newer results of one."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from ..analysis.wording import number
from .options import json_option
from .output import echo, echo_json

if TYPE_CHECKING:
    from ..analysis.run_changes import RunChanges

MOST = 12
"""The most rows of a kind that are printed one by one."""


@click.command(
    epilog="""\b
Examples:
  trilemma compare runs/before runs/after
  trilemma compare runs/before runs/after --json | jq '.changes[] | select(.status == "worse")'
  trilemma compare runs/mine
  trilemma compare runs/quick realnvp vp-sde
  trilemma compare runs/quick realnvp vp-sde --json | jq '.[] | select(.better != "")'
"""
)
@click.argument("directory", metavar="DIR", type=click.Path(file_okay=False))
@click.argument("others", metavar="[DIR | MODEL MODEL]", nargs=-1)
@json_option
def compare(directory: str, others: tuple[str, ...], as_json: bool) -> None:
    """Compare two run directories, two models of one, or the older and the newer results of one.

    With a second DIR, say what has become better or worse from the first run to the second: by every criterion, for
    each model and sampler setting that both have. With DIR alone, do the same for results that newer ones have
    replaced, such as those of an earlier version of a plugin. A change counts if it is beyond what training seeds and
    metrics vary by; that takes three seeds. If nothing has changed, anything is called worse in at most 5 % of the
    comparisons. Failures, lost rows, and changes of environment and code are listed.

    With two MODELs, named by their labels, compare these within DIR. Each stands with its best sampler setting, and
    with the costs of the one that is best in quality. They differ if p <= 0.05.

    Exit codes for runs: 0 nothing is worse, 1 something is worse, fails or must not be ranked any more, 2 nothing can
    be compared. For two models: 0, or 2 if they cannot be compared.
    """
    if len(others) > 2:
        raise click.UsageError("give a second run directory, or the labels of two models, or neither")
    if len(others) == 2:
        _models(directory, others[0], others[1], as_json)
        return
    from ..analysis.run_changes import compare_runs

    found = compare_runs(directory, *others)
    if as_json:
        echo_json(found.record())
    else:
        _say(found)
    sys.exit(1 if found.regressions else 0 if found.decided else 2)


def _models(directory: str, a: str, b: str, as_json: bool) -> None:
    from ..analysis.verdicts import compare as comparison
    from ..api import load_results

    records = comparison(load_results(directory), a, b)
    if as_json:
        echo_json(records)
        return
    for record in records:
        values = []
        for line in (record["a"], record["b"]):
            sampler = f" [{line['sampler']}]" if line["sampler"] else ""
            values.append(f"{line['label']}{sampler} {number(line['value'])}")
        p = record["p_value"]
        said = record["note"] or (f"{record['better']} is better" if record["better"] else "not told apart")
        chance = "" if p is None else f" (p = {number(p, 2)})".replace("= <", "<")
        echo(f"{record['dataset']}, {record['criterion']}: {', '.join(values)}: {said}{chance}")


def _say(found: RunChanges) -> None:
    for name, side in (("before", found.before), ("after", found.after)):
        echo(f"{name + ':':8}{side['path']}, {side['time']}")
    for name, (then, now) in found.environment.items():
        echo(f"environment: {name} was {_text(then)}, is {_text(now)}")
    for what, names in found.code.items():
        echo(f"changed {what}: {_listing(names)}")
    for status in ("worse", "better"):
        for record in found.with_status(status):
            echo(f"{status.upper() if status == 'worse' else status}: {_changed(record)}")
    for row in found.failed:
        seeds = ", ".join(map(str, row["seeds"]))
        said = f": {row['message']}" if row["message"] else ""
        where = f" in {row['phase']}" if row["phase"] else ""
        echo(f"{'FAILS' if row['regression'] else 'fails'}: {_row(row)}, seeds {seeds}: {row['outcome']}{where}{said}")
    for row in found.marked:
        echo(f"MARKED: {_row(row)}: {'; '.join(row['reasons'])}")
    for what, rows in (("lost", found.lost), ("new", found.new)):
        if rows:
            echo(f"{what}: {_listing([_row(row) for row in rows])}")
    for reason, rows in _by_reason(found).items():
        echo(f"not compared, {reason}: {_listing(list(dict.fromkeys(map(_row, rows))))}")
    _sum_up(found)


def _sum_up(found: RunChanges) -> None:

    same = found.with_status("no difference")
    seen: dict[tuple[str, str, str], list[float]] = {}
    for record in same:
        if record["resolution"] is not None:
            key = (record["dataset"], record["criterion"], record["change"]["scale"])
            seen.setdefault(key, []).append(record["resolution"])
    for (dataset, criterion, scale), values in seen.items():
        middle = number(sorted(values)[len(values) // 2], 2)
        what = f"a factor of {middle}" if scale == "ratio" else f"a change of {middle}"
        echo(f"resolution: {dataset}, {criterion}: {what} is found in about half of the cases")
    tested = len(found.with_status("worse", "better")) + len(same)
    counts = f"{tested} numbers tested, {len(found.with_status('equal'))} equal"
    if not found.decided:
        echo(f"{counts}: nothing can be said; three seeds on the same dataset, budget and device are needed")
    elif found.regressions:
        echo(f"{counts}: {found.regressions} regression{'s' if found.regressions > 1 else ''}")
    else:
        echo(f"{counts}: nothing is worse beyond chance")


def _changed(record: dict[str, Any]) -> str:

    change, p = record["change"], record["p_value"]
    values = " to ".join(number(record[side]["value"]) for side in ("before", "after"))
    unit = f" {record['unit']}" if record["unit"] else ""
    ends = f"{number(change['low'])} to {number(change['high'])}"
    what = "" if change["low"] == change["high"] else f", {change['scale']} {number(change['value'])} ({ends})"
    chance = f", p = {number(p, 2)}".replace("= <", "<")
    return f"{_row(record)}, {record['criterion']}: {record['title']} from {values}{unit}{what}{chance}"


def _by_reason(found: RunChanges) -> dict[str, list[dict[str, Any]]]:
    """The rows that are not compared. A row is named for a criterion only if others of its criteria are compared."""
    reasons: dict[str, list[dict[str, Any]]] = {}
    for row in found.not_compared:
        reasons.setdefault(row["reason"], []).append(row)
    for record in found.with_status("not tested"):
        reasons.setdefault(f"{record['criterion']}, {record['note']}", []).append(record)
    return reasons


def _row(row: dict[str, Any]) -> str:
    sampler = f" [{row['sampler']}]" if row["sampler"] else ""
    return f"{row['label']}{sampler} on {row['dataset']}"


def _listing(names: list[str]) -> str:
    more = [f"and {len(names) - MOST} more"] if len(names) > MOST else []
    return ", ".join([*names[:MOST], *more])


def _text(value: Any) -> str:
    return "unknown" if value is None else str(value)
