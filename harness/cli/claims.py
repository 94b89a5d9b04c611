"""The command `trilemma claims`, which tests published claims by small experiments."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from ..claims.wording import claim_finding, claim_source, claim_tally
from . import output
from .options import json_option, names_option, plugin_option
from .output import echo, echo_json

COLORS = {"reproduced": "green", "contradicted": "red", "inconclusive": "yellow", "not run": "dim"}


@click.command(
    epilog="""\b
Examples:
  trilemma claims --list
  trilemma claims --dry-run
  trilemma claims --only trilemma
  trilemma claims --only samplers,rho-exact -j 2
  trilemma claims --effort full --save claims.json
  trilemma claims --only rho-exact --first-seed 100
  trilemma claims --stored --json
"""
)
@names_option("--only", "Only the claims of these names or families. This changes no verdict.")
@click.option("--list", "listing", is_flag=True, help="List the claims with their papers, and run nothing.")
@click.option(
    "--effort",
    type=click.Choice(["quick", "full"]),
    default="quick",
    show_default=True,
    help="Training steps and seeds: quick is sized for about an hour on two cores, full for a night.",
)
@click.option(
    "--first-seed", type=click.IntRange(0), default=0, show_default=True, help="First training seed, to repeat a claim."
)
@click.option(
    "--out", type=click.Path(file_okay=False), default="runs/claims", show_default=True, help="Run directory."
)
@click.option("-j", "--jobs", type=click.IntRange(1), help="Cells at a time [default: one per core, or per GPU].")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Threads of each cell.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N.")
@click.option("--dry-run", is_flag=True, help="Show what would run and how long it takes, and run nothing.")
@click.option("--stored", is_flag=True, help="Run nothing, and print the verdicts that stored results give.")
@click.option("--save", type=click.Path(dir_okay=False, path_type=Path), help="Write the verdicts to this JSON file.")
@plugin_option
@json_option
def claims(
    only: list[str] | None,
    listing: bool,
    effort: Any,
    first_seed: int,
    out: str,
    jobs: int | None,
    threads: int,
    device: str,
    dry_run: bool,
    stored: bool,
    save: Path | None,
    plugin_files: tuple[str, ...],
    as_json: bool,
) -> None:
    """Test which published claims hold here, by small experiments.

    The page on claims says what was fixed beforehand, and what was changed after a look at results.

    Each claim is a comparison of models, samplers or options, with a smallest effect of interest. Its verdict is
    computed from several training seeds: reproduced, contradicted, inconclusive (with the number of seeds that would
    decide), or not run. Over all claims, the false discovery rate is at most 5 %.

    All experiments run into one directory and share their cells. After an interruption, the same command goes on. What
    other runs have computed can be merged into it first: trilemma merge runs/mine --out runs/claims.

    Exit codes: 0 no cell failed, 1 a cell failed, 2 a name or an option is wrong, 130 the run was interrupted.
    """
    from ..claims.campaign import Campaign
    from ..terminal.progress import RichProgress

    if listing + dry_run + stored > 1:
        raise click.UsageError("--list, --dry-run and --stored exclude each other")
    with RichProgress() as progress:
        campaign = Campaign(effort, only, out, first_seed, jobs, threads, device, plugin_files, progress)
        if listing:
            _list(campaign.claims, as_json)
            return
        if dry_run:
            planned = campaign.plan()
        elif not stored:
            campaign.run()
    if dry_run:
        _show_plan(planned, campaign, as_json)
        return
    records = campaign.verdicts(report=not stored and not campaign.interrupted)
    if save is not None:
        save.write_text(saved(records), encoding="utf-8")
    if as_json:
        echo_json(records)
    else:
        _show(records)
    for problem in campaign.problems:
        echo(f"error: {problem}", err=True)
    if campaign.interrupted:
        echo(f"interrupted; run the same command again to continue in {out}", err=True)
        sys.exit(130)
    if campaign.problems or campaign.failed:
        sys.exit(1)


def saved(records: list[dict[str, Any]]) -> str:
    """The records as a JSON file with a claim a line, so that changes of single claims can be seen."""
    lines = ",\n".join(json.dumps(_rounded(record), ensure_ascii=False) for record in records)
    return f'{{"claims": [\n{lines}\n]}}\n'


def _rounded(value: Any) -> Any:
    """A JSON value whose numbers have six digits; numbers that are not finite become null."""
    if isinstance(value, dict):
        return {key: _rounded(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(part) for part in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if abs(value) < float("inf") else None
    return value


def _list(found: list[Any], as_json: bool) -> None:
    from rich.table import Table

    if as_json:
        echo_json([claim.model_dump(mode="json") for claim in found])
        return
    table = Table(box=None, pad_edge=False)
    for title in ("claim", "family", "what the paper says", "source"):
        table.add_column(title, overflow="fold", no_wrap=title == "claim")  # a name is copied in one piece
    for claim in found:
        says = f"{claim.claim} [tested on the {claim.score} score]" if claim.score else claim.claim
        table.add_row(claim.name, claim.family, says, claim_source(claim.model_dump()))
    output.console().print(table, highlight=False, markup=False)


def _show_plan(planned: list[Any], campaign: Any, as_json: bool) -> None:
    from ..terminal.bars import duration

    if as_json:
        echo_json(
            [
                {
                    "name": each.claim.name,
                    "cells": [item.cell.label for item in each.todo],
                    "seconds": round(each.seconds, 1),
                }
                for each in planned
            ]
        )
        return
    for each in planned:
        what = f"{len(each.todo)} cells, about {duration(each.seconds)}" if each.todo else "nothing to run"
        echo(f"{each.claim.name}: {what}")
    cells = {item.cell.id for each in planned for item in each.todo}
    total = sum(each.seconds for each in planned)
    echo(f"{len(cells)} cells to run in {campaign.out}, about {duration(total)}", err=True)


def _show(records: list[dict[str, Any]]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for title in ("claim", "verdict", "what was found"):
        table.add_column(title, overflow="fold", no_wrap=title == "claim")  # a name is copied in one piece
    for record in records:
        table.add_row(record["name"], Text(record["verdict"], COLORS[record["verdict"]]), claim_finding(record))
    output.console().print(table, highlight=False)
    echo(f"{claim_tally(records)} (effort {records[0]['effort']})" if records else "no claims")
