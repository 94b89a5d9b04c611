"""The command `trilemma results`, which prints the results in a run directory."""

from __future__ import annotations

import click

from .output import echo_json, frame_records, markdown


@click.command(
    epilog="""\b
Examples:
  trilemma results runs/quick > results.csv
  trilemma results runs/quick --format json | jq '.[] | select(.metric == "nll_gap")'
  trilemma results runs/quick --format md --metric w2
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
@click.option("--metric", multiple=True, help="Only this metric (may be repeated).")
@click.option("--superseded", is_flag=True, help="Include results that newer results have superseded.")
def results(directory: str, form: str, metric: tuple[str, ...], superseded: bool) -> None:
    """Print the results in the run directory DIR, with one row per cell, sampler setting and metric.

    The results are of all runs into the directory. The column `selected` marks those that the latest run selected.
    """
    from ..api import load_results

    frame = load_results(directory, superseded=superseded)
    if metric:
        frame = frame[frame["metric"].isin(metric)]
    if form == "csv":
        click.echo(frame.to_csv(index=False), nl=False)
    elif form == "json":
        echo_json(frame_records(frame))
    else:
        columns = [
            *("dataset_id", "label", "seed", "sampler", "nfe", "metric", "value", "ci_low", "ci_high", "floor", "unit"),
            *("n", "likelihood", "outcome"),
        ]
        rows = frame[columns].astype(object).where(frame[columns].notna(), "")
        click.echo(markdown(columns, [[f"{c:.6g}" if isinstance(c, float) else c for c in row] for row in rows.values]))
