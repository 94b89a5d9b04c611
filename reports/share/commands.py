"""The commands that share results: `trilemma export` and `trilemma site`."""

from __future__ import annotations

import json
from pathlib import Path

import click

import trilemma

TEXTS = ("latex", "markdown", "csv", "json", "bibtex")
EVERY = (*TEXTS, "parquet", "svg", "pdf", "png")


def _formats(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> list[str]:
    names = [name.strip().lower() for part in value for name in part.split(",") if name.strip()]
    for name in names:
        if name not in EVERY:
            raise click.BadParameter(f"there is no format '{trilemma.printable(name)}'; choose from {', '.join(EVERY)}")
    return list(dict.fromkeys(names))


@click.command(
    epilog="""\b
Examples:
  trilemma export runs/quick --format latex
  trilemma export runs/quick --format bibtex > references.bib
  trilemma export runs/quick --format latex,pdf,bibtex --out paper/quick
  trilemma export runs/quick --out quick-results
"""
)
@click.argument("directory", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--format",
    "formats",
    multiple=True,
    callback=_formats,
    metavar="FORMAT,...",
    help=f"Formats: {', '.join(EVERY)} [default: all].",
)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder for the files.")
@click.option("--json", "as_json", is_flag=True, help="Print the written paths as JSON.")
def export(directory: Path, formats: list[str], out: Path | None, as_json: bool) -> None:
    """Export the results of the run directory DIR for papers and other programs.

    One format of text (latex, markdown, csv, json, bibtex) is printed, unless --out names a folder. The tables have a
    row for each model and sampler setting, and a column for each criterion, with intervals and with what is best in
    bold. bibtex has the papers of all models and samplers, and what the cards of the datasets cite. svg, pdf and png
    are the figures. csv, json and parquet hold every number.

    The folder must be new, empty, or made by trilemma.
    """
    from .export import available, content
    from .export import export as write

    if out is None and (len(formats) != 1 or formats[0] not in TEXTS):
        raise click.UsageError("give --out FOLDER; without it, one of the formats of text is printed")
    view = trilemma.RunView.open(directory)
    if out is None:
        click.echo(content(view, formats[0]).decode(), nl=False)
        return
    chosen = formats or available()
    written = write(view, chosen, out)
    if as_json:
        click.echo(json.dumps({"written": [str(path) for path in written]}))
        return
    for path in written:
        click.echo(trilemma.printable(path))
    if not formats and "parquet" not in chosen:
        click.echo("parquet was left out: pip install 'trilemma[data]' adds it", err=True)


@click.command(
    epilog="""\b
Examples:
  trilemma site runs/quick --out public
  trilemma site runs/* --out public --title "Flows on ring8"
  trilemma site runs/monday runs/tuesday --out public --json
"""
)
@click.argument(
    "directories",
    metavar="DIR...",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
)
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder for the site.")
@click.option("--title", default="Leaderboard", show_default=True, help="Title of the page.")
@click.option("--json", "as_json", is_flag=True, help="Print the written paths as JSON.")
def site(directories: tuple[Path, ...], out: Path, title: str, as_json: bool) -> None:
    """Write a leaderboard over the run directories DIR... as a static site.

    The page needs no server and no network. It has a table for each dataset, budget and device, with a row for each
    model and sampler setting of each run, and filters for dataset, budget, machine and model. What is best is judged by
    the rules of the report, over all runs. The column Verified says what a repetition has shown, in another of the runs
    or by `trilemma rerun`: the same weights and results bit for bit, or a quality within the interval. Copies are no
    repetitions.

    The folder must be new, empty, or made by trilemma.
    """
    from .site import write_site

    written = write_site(directories, out, title)
    if as_json:
        click.echo(json.dumps({"written": [str(path) for path in written]}))
        return
    for path in written:
        click.echo(trilemma.printable(path))
