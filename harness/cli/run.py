"""The command `trilemma run`, which runs a suite."""

from __future__ import annotations

import sys
from typing import Any

import click

from .completion import complete_suite
from .options import json_option, names_option, plugin_option
from .output import echo_json, frame_records


def _seeds(ctx: click.Context, param: click.Parameter, value: str | None) -> int | list[int] | None:
    if value is None:
        return None
    try:
        return [int(part) for part in value.split(",")] if "," in value else int(value)
    except ValueError:
        raise click.BadParameter(
            f"'{value}' cannot be read: give a number of seeds such as 3, or the seeds such as 0,4,7"
        ) from None


@click.command(
    epilog="""\b
Examples:
  trilemma run
  trilemma run smoke --out /tmp/smoke
  trilemma run quick --models realnvp,vp-sde --datasets ring8 --seeds 5
  trilemma run my-suite.toml -j 4 --set budget.seconds=60 --set models.realnvp.config.transforms=12
  trilemma run quick --plugin ./my_model.py --models my-model,gaussian
  trilemma run quick --dry-run
"""
)
@click.argument("suite", default="quick", shell_complete=complete_suite)
@names_option("--models", "Run only these models. A model that is not in the suite is added with default options.")
@names_option(
    "--datasets", "Run only these datasets. A dataset that is not in the suite is added with default options."
)
@click.option("--seeds", callback=_seeds, metavar="N | A,B,...", help="Number of training seeds, or a list of them.")
@click.option("--budget", metavar="10s | 2000steps", help="Training budget of each cell.")
@click.option("-j", "--jobs", type=click.IntRange(1), help="Cells at a time [default: one per core, or per GPU].")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Threads of each cell.")
@click.option("--set", "assignments", multiple=True, metavar="PATH=VALUE", help="Change one value of the suite (TOML).")
@click.option("--out", type=click.Path(file_okay=False), help="Run directory [default: runs/SUITE].")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N.")
@click.option("--dry-run", is_flag=True, help="Show what would run and why, and run nothing.")
@click.option("--rerun", is_flag=True, help="Repeat finished cells, with the same training steps as before.")
@click.option("-x", "--fail-fast", is_flag=True, help="Start no more cells when one has failed.")
@click.option(
    "--max-failures", type=click.IntRange(1), metavar="N", help="Start no more cells when N of them have failed."
)
@click.option("--download", is_flag=True, help="Allow datasets to download their files.")
@plugin_option
@json_option
def run(
    suite: str,
    models: list[str] | None,
    datasets: list[str] | None,
    seeds: int | list[int] | None,
    budget: str | None,
    jobs: int | None,
    threads: int,
    assignments: tuple[str, ...],
    out: str | None,
    device: str,
    dry_run: bool,
    rerun: bool,
    fail_fast: bool,
    max_failures: int | None,
    download: bool,
    plugin_files: tuple[str, ...],
    as_json: bool,
) -> None:
    """Run a SUITE (the name of a built-in suite, or a TOML file) and write its report.

    Results that the run directory already holds are not computed again. After an interruption, or after adding a model,
    a metric or a sampler setting, run the same command again, and only what is missing is computed.

    A run of other models or datasets into the same directory adds its results. The report covers all of them.

    Exit codes: 0 no cell failed, 1 a cell failed or a report was not written, 2 the suite or the command line is wrong,
    130 the run was interrupted.
    """
    from .. import api
    from .progress import RichProgress

    asked: dict[str, Any] = {
        "out": out,
        "models": models,
        "datasets": datasets,
        "seeds": seeds,
        "budget": budget,
        "set": assignments,
        "threads": threads,
        "device": device,
        "plugins": plugin_files,
    }
    memory = None if dry_run or rerun else api.memory(suite, **asked)
    if memory is not None and (finished := memory.recall()):
        click.echo(f"nothing is left to do in {finished.store.path}", err=True)
        _show(api.load_results(finished.store.path), finished, as_json)
        return
    with RichProgress() as progress:
        runner = api.make_runner(
            suite,
            **asked,
            jobs=jobs,
            rerun=rerun,
            max_failures=1 if fail_fast else max_failures,
            download=download,
            progress=progress,
        )
        if dry_run:
            todo = runner.dry_run()
        else:
            runner.run()
            frame = api.finish(runner)
            if memory is not None:
                api.remember(memory, runner, frame)
    if dry_run:
        _show_plan(todo, runner, as_json)
        return
    _show(frame, runner, as_json)
    if runner.interrupted:
        click.echo(f"interrupted; run the same command again to continue in {runner.store.path}", err=True)
        sys.exit(130)
    chosen = frame[frame["selected"]]
    if runner.problems or not chosen["outcome"].isin(["ok", "unsupported"]).all():
        sys.exit(1)


def _show_plan(todo: list[Any], runner: Any, as_json: bool) -> None:
    if as_json:
        echo_json(
            [
                {"cell": item.cell.id, "label": item.cell.label, "train": item.train, "why": item.why,
                 "evaluations": len(item.evaluations), "timings": _timed(item)}
                for item in todo
            ]
        )  # fmt: skip
        return
    for item in todo:
        what = "train and evaluate" if item.train else f"evaluate ({len(item.evaluations)})" if item.in_cell else "time"
        why = f"will fail: {item.cell.data_error}" if item.cell.data_error else item.why
        click.echo(f"{item.cell.label}: {what}: {why}")
        if item.timings:
            click.echo(f"  to be timed after all cells: {', '.join(_timed(item))}")
    total = len(runner.resolved.pairs) * len(runner.resolved.suite.seed_list)
    cells, settings = sum(item.in_cell for item in todo), sum(len(item.timings) for item in todo)
    timings = f", {settings} sampler setting{'s' * (settings != 1)} to time" if settings else ""
    click.echo(f"{cells} of {total} cells to run{timings} in {runner.store.path}", err=True)


def _timed(item: Any) -> list[str]:
    """The labels of the sampler settings that are to be timed."""
    return [planned.label for planned in item.cell.timed if planned.id in item.timings]


def _show(frame: Any, runner: Any, as_json: bool) -> None:

    if as_json:
        cells = frame.drop_duplicates("cell")
        outcomes = frame.groupby("cell")["outcome"].agg(lambda column: next((o for o in column if o != "ok"), "ok"))
        echo_json({"path": str(runner.store.path), "cells": len(cells), "outcomes": outcomes.value_counts().to_dict(),
                   "written": [str(file) for file in runner.written], "problems": runner.problems,
                   "results": frame_records(frame)})  # fmt: skip
        return
    from .table import print_summary

    print_summary(frame)
    reports = [file for file in runner.written if file.parent == runner.store.path]
    if reports:
        click.echo("written: " + ", ".join(str(file) for file in reports), err=True)
    for problem in runner.problems:
        click.echo(f"error: {problem}", err=True)
