"""The command `trilemma run`, which runs a suite."""

from __future__ import annotations

import sys
from typing import Any

import click

from ..planning.shards import select
from .completion import complete_suite
from .options import json_option, names_option, plugin_option
from .output import echo, echo_json


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
  trilemma run --data wine.csv
  trilemma run quick --plugin ./my_model.py --models my-model,gaussian
  trilemma run quick --observer tensorboard
  trilemma run quick --dry-run
  trilemma run standard --shard 2/8
  trilemma run quick --executor dask --scheduler-address tcp://10.0.0.1:8786
  trilemma run standard --executor slurm --slurm partition=cpu --max-jobs 32
"""
)
@click.argument("suite", default="quick", shell_complete=complete_suite)
@names_option("--models", "Run only these models. A model that is not in the suite is added with default options.")
@names_option(
    "--datasets", "Run only these datasets. A dataset that is not in the suite is added with default options."
)
@click.option(
    "--data",
    "data",
    multiple=True,
    metavar="PATH",
    help="Run on your own data instead: a table (CSV, .parquet, .npy, .npz, idx) or a folder of images (may be "
    "repeated). With --datasets, both run.",
)
@click.option("--seeds", callback=_seeds, metavar="N | A,B,...", help="Number of training seeds, or a list of them.")
@click.option("--budget", metavar="10s | 2000steps", help="Training budget of each cell.")
@click.option("-j", "--jobs", type=click.IntRange(1), help="Cells at a time [default: one per core, or per GPU].")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Threads of each cell.")
@click.option("--set", "assignments", multiple=True, metavar="PATH=VALUE", help="Change one value of the suite (TOML).")
@click.option("--out", type=click.Path(file_okay=False), help="Run directory [default: runs/SUITE].")
@click.option("--shard", metavar="K/N", help="Run the K-th of N parts, in runs/SUITE-shard-K-of-N.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N.")
@click.option("--dry-run", is_flag=True, help="Show what would run and why, and run nothing.")
@click.option("--rerun", is_flag=True, help="Repeat finished cells, with the same training steps as before.")
@click.option("-x", "--fail-fast", is_flag=True, help="Start no more cells when one has failed.")
@click.option(
    "--max-failures", type=click.IntRange(1), metavar="N", help="Start no more cells when N of them have failed."
)
@click.option(
    "--executor",
    type=click.Choice(["local", "dask", "slurm"]),
    default="local",
    show_default=True,
    help="Where cells run.",
)
@click.option(
    "--scheduler-address", metavar="ADDRESS", help="Dask: the scheduler, such as tcp://10.0.0.1:8786 [default: local]."
)
@click.option("--scheduler-file", type=click.Path(dir_okay=False), help="Dask: the file that names the scheduler.")
@click.option(
    "--worker-wait",
    type=click.FloatRange(0),
    metavar="SECONDS",
    help="Dask: limit of waiting for workers [default: 600].",
)
@click.option("--download", is_flag=True, help="Allow datasets to download their files.")
@click.option(
    "--slurm",
    multiple=True,
    metavar="KEY=VALUE",
    help="Slurm: an option of the jobs, such as partition=gpu (may be repeated); cluster=local needs no Slurm.",
)
@click.option("--max-jobs", type=click.IntRange(1), metavar="N", help="Slurm: jobs at a time [default: 16].")
@click.option("--cancel", is_flag=True, help="Slurm: end the jobs of an earlier run, and merge what they did.")
@names_option("--observer", "Also report to this observer, such as mlflow, tensorboard or wandb.")
@plugin_option
@json_option
def run(
    suite: str,
    models: list[str] | None,
    datasets: list[str] | None,
    data: tuple[str, ...],
    seeds: int | list[int] | None,
    budget: str | None,
    jobs: int | None,
    threads: int,
    assignments: tuple[str, ...],
    out: str | None,
    shard: str | None,
    device: str,
    dry_run: bool,
    rerun: bool,
    fail_fast: bool,
    max_failures: int | None,
    executor: str,
    scheduler_address: str | None,
    scheduler_file: str | None,
    worker_wait: float | None,
    download: bool,
    slurm: tuple[str, ...],
    max_jobs: int,
    cancel: bool,
    observer: list[str] | None,
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
    from ..execution.scheduling.engines import own_options
    from ..terminal.progress import RichProgress
    from .ending import end_run, load_ahead, show

    asked: dict[str, Any] = {
        "out": out,
        "models": models,
        "datasets": datasets,
        "seeds": seeds,
        "budget": budget,
        "set": assignments,
        "threads": threads,
        "shard": shard,
        "device": device,
        "plugins": plugin_files,
    }
    cluster: dict[str, Any] = {
        "scheduler_address": scheduler_address,
        "scheduler_file": scheduler_file,
        "worker_wait": worker_wait,
        "slurm": slurm,
        "max_jobs": max_jobs,
        "cancel": cancel,
    }
    own_options(executor, cluster)  # raises for what belongs to another executor, also if nothing is left to do
    memory = None if dry_run or rerun or cancel or data or observer else api.memory(suite, **asked)
    if memory is not None and (finished := memory.recall()):
        echo(f"nothing is left to do in {finished.store.path}", err=True)
        show(api.load_results(finished.store.path), finished, as_json)
        return
    with RichProgress() as progress:
        runner = api.make_runner(
            suite,
            **asked,
            data=data,
            jobs=jobs,
            rerun=rerun,
            max_failures=1 if fail_fast else max_failures,
            executor=executor,
            observers=observer or (),
            download=download,
            progress=progress,
            **cluster,
        )
        if dry_run:
            todo = runner.dry_run()
        else:
            libraries = load_ahead(runner)
            runner.run()
            if libraries is not None:
                libraries.join()  # it diverts standard output, to which the results go
    if dry_run:
        _show_plan(todo, runner, as_json)
        return
    if runner.interrupted and not runner.store.holds_run:
        echo("interrupted before a cell was started; run the same command again", err=True)
        sys.exit(130)
    failed = end_run(runner, memory, as_json)
    if cancel:
        return
    if runner.interrupted:
        echo(f"interrupted; run the same command again to continue in {runner.store.path}", err=True)
        sys.exit(130)
    if runner.problems or failed:
        sys.exit(1)


def _show_plan(todo: list[Any], runner: Any, as_json: bool) -> None:
    """Print what a run would do, and about how long it would take."""
    from ..execution.scheduling.expected import expected_run_seconds
    from ..terminal.bars import duration

    if as_json:
        echo_json(
            [
                {"cell": item.cell.id, "label": item.cell.label, "train": item.train, "why": item.why,
                 "budget": item.cell.budget, "samplers": _samplers(item), "evaluations": len(item.evaluations),
                 "timings": _timed(item)}
                for item in todo
            ]
        )  # fmt: skip
        return
    told: set[str] = set()
    for item in todo:
        what = "train and evaluate" if item.train else f"evaluate ({len(item.evaluations)})" if item.in_cell else "time"
        why = f"will fail: {item.cell.data_error}" if item.cell.data_error else item.why
        echo(f"{item.cell.label}: {what}: {why}")
        if (samplers := _samplers(item)) and item.cell.model.label not in told:
            told.add(item.cell.model.label)
            echo(f"  samplers: {', '.join(samplers)}")
        if item.timings:
            echo(f"  to be timed after all cells: {', '.join(_timed(item))}")
    total = len(select(runner.suite_cells, runner.shard))
    cells, settings = sum(item.in_cell for item in todo), sum(len(item.timings) for item in todo)
    timings = f", {settings} sampler setting{'s' * (settings != 1)} to time" if settings else ""
    echo(f"{cells} of {total} cells to run{timings} in {runner.store.path}", err=True)
    if todo:
        suite = runner.resolved.suite
        seconds = expected_run_seconds(runner, todo)
        echo(
            f"budget of each training: {suite.budget}; seeds: {', '.join(map(str, suite.seed_list))}; "
            f"about {duration(seconds)} with {runner.jobs} cell{'s' * (runner.jobs != 1)} at a time",
            err=True,
        )


def _samplers(item: Any) -> list[str]:
    """The labels of the sampler settings that samples are drawn at."""
    return [planned.label for planned in item.cell.evaluated if planned.sampler and planned.id in item.evaluations]


def _timed(item: Any) -> list[str]:
    """The labels of the sampler settings that are to be timed."""
    return [planned.label for planned in item.cell.timed if planned.id in item.timings]
