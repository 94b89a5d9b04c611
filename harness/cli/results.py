"""The command `trilemma results`, which prints the results in a run directory."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

import click

from ..errors import TrilemmaError, did_you_mean
from ..store.csv_text import csv_text
from ..text import brief, printable, spreadsheet_cell
from .output import echo_json, frame_records, markdown

if TYPE_CHECKING:
    import pandas as pd


@click.command(
    epilog="""\b
Examples:
  trilemma results runs/quick > results.csv
  trilemma results runs/quick --format json | jq '.[] | select(.metric == "nll_gap")'
  trilemma results runs/quick --format md --metric w2
  trilemma results runs/quick --verdicts
  trilemma results runs/standard --summary --format json
"""
)
@click.argument("directory", metavar="DIR", type=click.Path(file_okay=False))
@click.option(
    "--format",
    "form",
    type=click.Choice(["csv", "json", "md"]),
    default="csv",
    show_default=True,
    help="Format of the table.",
)
@click.option("--metric", multiple=True, help="Only this number, or all numbers of this metric (may be repeated).")
@click.option("--superseded", is_flag=True, help="Include results that newer results have superseded.")
@click.option("--verdicts", "as_verdicts", is_flag=True, help="Print what may be concluded, by dataset and criterion.")
@click.option("--summary", "as_summary", is_flag=True, help="Print one summary of quality over all datasets.")
def results(
    directory: str, form: str, metric: tuple[str, ...], superseded: bool, as_verdicts: bool, as_summary: bool
) -> None:
    """Print the results in the run directory DIR, with one row per cell, sampler setting and metric.

    The results are of all runs into the directory. The column `selected` marks those that the latest run selected. The
    drawings of the report are left out of `details`.

    With --verdicts, one row says which models are best by one criterion on one dataset, as far as the training seeds
    allow. With --summary, one row compares a model with the best one over all datasets.
    """
    from ..analysis.frames import without_drawings
    from ..api import load_results

    if as_verdicts and as_summary:
        raise click.UsageError("--verdicts and --summary are two outputs: give one of them")
    if as_verdicts or as_summary:
        if metric:
            raise click.UsageError("--metric selects results: leave it out with --verdicts and --summary")
        _print_conclusions(load_results(directory, superseded=True), form, as_summary)
        return
    frame = load_results(directory, superseded=superseded)
    if metric:
        frame = frame[_chosen(frame, metric)]
    if form == "csv":
        click.echo(csv_text(without_drawings(frame)), nl=False)
    elif form == "json":
        echo_json(frame_records(frame))
    else:
        columns = [
            *("dataset_id", "label", "seed", "sampler", "nfe", "metric", "value", "ci_low", "ci_high", "floor", "unit"),
            *("n", "likelihood", "outcome"),
        ]
        rows = frame[columns].astype(object).where(frame[columns].notna(), "")
        click.echo(markdown(columns, [[f"{c:.6g}" if isinstance(c, float) else c for c in row] for row in rows.values]))


def _chosen(frame: pd.DataFrame, wanted: tuple[str, ...]) -> pd.Series[bool]:
    """The rows of the wanted numbers. A name that is no number means a metric, and all numbers that it computes."""
    chosen = frame["metric"].isin(wanted)
    numbers, metrics = (set(frame[column].dropna()) for column in ("metric", "computed_by"))
    for name in set(wanted) - numbers:
        if name not in metrics:
            hint = did_you_mean(name, numbers | metrics)
            raise TrilemmaError(f"there are no results of a metric '{brief(name)}' here ({hint})")
        chosen |= frame["computed_by"] == name
    return chosen


def _print_conclusions(frame: pd.DataFrame, form: str, as_summary: bool) -> None:
    from ..analysis.answers import note
    from ..analysis.overall import overall
    from ..analysis.verdicts import verdicts

    if as_summary:
        records = overall(frame)
        if not records:
            raise TrilemmaError(
                "a summary over datasets needs at least two datasets with three seeds of the same models"
            )
        flat = [line for record in records for line in _pairs(record)]
    else:
        records = verdicts(frame)
        flat = [{**_brief(record), "note": note(record)} for record in records]
    if form == "json":
        echo_json(records)
    elif form == "csv":
        click.echo(_csv(flat), nl=False)
    else:
        click.echo(markdown(list(flat[0]) if flat else [], [list(line.values()) for line in flat]))


def _brief(record: dict[str, Any]) -> dict[str, Any]:
    """A verdict as one row of text."""

    def name(line: dict[str, str]) -> str:
        return f"{line['label']} [{line['sampler']}]" if line["sampler"] else line["label"]

    keys = ("dataset", "budget", "device", "machine", "criterion", "metric", "seeds")
    return {key: record[key] for key in keys} | {
        "leader": name(record["leader"]) if record["leader"] else "",
        "best": "; ".join(map(name, record["best"])),
        "unsure": "; ".join(map(name, record["unsure"])),
        "controls_ahead": "; ".join(record["controls_ahead"]),
        "controls_level": "; ".join(record["controls_level"]),
        "resolution": "" if record["resolution"] is None else f"{record['resolution']:.3g} ({record['scale']})",
        "marked": "; ".join(f"{label}: {', '.join(reasons)}" for label, reasons in record["marked"].items()),
    }


def _pairs(record: dict[str, Any]) -> list[dict[str, Any]]:
    """A summary as one row for each model."""
    than = {pair["than"]: pair for pair in record["pairs"]}
    rows = []
    for line in record["models"]:
        pair = than.get(line["label"])
        practically = pair["practically"] if pair else None
        rows.append(
            {
                "budget": record["budget"],
                "device": record["device"],
                "trained_on": record["trained_on"],
                "datasets": len(record["datasets"]),
                "model": line["label"],
                "score": f"{line['score']:.3g}",
                "low": f"{line['low']:.3g}",
                "high": f"{line['high']:.3g}",
                "better": pair["better"] if pair else "",
                "probability_of_improvement": f"{pair['probability_of_improvement']:.2f}" if pair else "",
                "practically_better": f"{practically['better']:.2f}" if practically else "",
                "practically_equal": f"{practically['equal']:.2f}" if practically else "",
            }
        )
    return rows


def _csv(rows: list[dict[str, Any]]) -> str:
    stream = io.StringIO(newline="")
    if rows:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: _safe(value) for key, value in row.items()} for row in rows)
    return stream.getvalue()


def _safe(value: Any) -> Any:
    return spreadsheet_cell(printable(value)) if isinstance(value, str) else value
