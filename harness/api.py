"""The Python interface: run a suite, and load results."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .execution.finished import Memory
from .execution.processes.forks import Zygote
from .execution.processes.supervisor import Supervisor
from .execution.progress import Progress, Silent
from .execution.run import Runner
from .execution.scheduling.engines import make_engine, own_options
from .execution.slurm.cluster import parse_options
from .execution.slurm.launcher import SlurmRunner
from .planning.asked import Paths, Source, document_of, path_of
from .planning.elsewhere import ask_interpreters
from .planning.named_plugins import all_plugins, observe_with
from .planning.own_data import own_entries, refuse_other_data
from .planning.resolve import resolve
from .planning.shards import Shard
from .plugins import Registry
from .store.listing import read_run
from .store.merge import merge as merge_directories
from .store.store import Store
from .terminal.notebook import progress_here

if TYPE_CHECKING:
    import pandas as pd

    from .store.merged_records import Merged


def run(
    suite: Source = "quick",
    *,
    out: str | Path | None = None,
    models: Sequence[str] | None = None,
    datasets: Sequence[str] | None = None,
    data: Paths = (),
    seeds: int | Sequence[int] | None = None,
    budget: str | None = None,
    set: Iterable[str] = (),
    jobs: int | None = None,
    threads: int = 1,
    device: str = "cpu",
    shard: str | tuple[int, int] | None = None,
    plugins: Iterable[str | Path] = (),
    observers: Iterable[str] = (),
    rerun: bool = False,
    max_failures: int | None = None,
    download: bool = False,
    executor: str = "local",
    scheduler_address: str | None = None,
    scheduler_file: str | None = None,
    worker_wait: float | None = None,
    slurm: Sequence[str] = (),
    max_jobs: int | None = None,
    cancel: bool = False,
    progress: bool = True,
) -> pd.DataFrame:
    """Run a suite and return its results in long form, with one row per cell, sampler setting and metric.

    Args:
        suite: name of a built-in suite, path to a TOML file, or the content of such a file as a mapping.
        out: run directory; by default `runs/<name of the suite>`, with `-shard-2-of-8` for a shard. Results that it
            already holds are not run again.
        models: names of the models to run, by default those of the suite.
        datasets: names of the datasets to run, by default those of the suite.
        data: your own files or folders, which take the place of the datasets of the suite; with `datasets`, both run.
        seeds: the number of training seeds, or a list of them.
        budget: the training budget of each cell, such as "10s" or "2000steps".
        set: assignments such as "budget.steps=500".
        jobs: cells at a time; by default one per core, or per GPU.
        threads: threads of each cell.
        device: "cpu", "cuda" or "cuda:1".
        shard: "2/8" or (2, 8), the second of eight parts of the cells.
        plugins: files of unpackaged plugins, or modules that are importable.
        observers: names of observers that also report the run, such as "tensorboard".
        rerun: repeat finished cells.
        max_failures: start no more cells when so many have failed.
        download: allow datasets to download their files.
        executor: "local", "dask" or "slurm".
        scheduler_address: for Dask, the address of the scheduler.
        scheduler_file: for Dask, the file that names the scheduler.
        worker_wait: for Dask, the seconds to wait for workers.
        slurm: for Slurm, options such as ["partition=gpu"].
        max_jobs: for Slurm, jobs at a time.
        cancel: for Slurm, end the jobs of an earlier call.
        progress: show the progress in the notebook or terminal; elsewhere, print messages and failures.

    Raises:
        SuiteError: the suite is not valid; the message lists every mistake.
        DataError: own data cannot be used.
        TrilemmaError: the run cannot start (directory in use, no such device).
        KeyboardInterrupt: the run was interrupted; finished cells are kept.

    Example:
        >>> import trilemma
        >>> frame = trilemma.run("smoke", out="runs/try")  # doctest: +SKIP
    """
    options = {name: value for name, value in locals().items() if name != "progress"}
    from .analysis.shown import Results

    shown = progress_here() if progress else None
    with shown or contextlib.nullcontext():
        runner = make_runner(**options, progress=shown)
        runner.run()
    frame = finish(runner) if runner.store.holds_run else None
    if runner.interrupted or frame is None:
        raise KeyboardInterrupt
    return Results(frame, runner.store.path)


def merge(
    directories: Sequence[str | Path], *, out: str | Path, progress: Callable[[int, int], None] | None = None
) -> Merged:
    """Merge run directories, such as the shards of a suite that ran on several machines, and write the report.

    Args:
        directories: the run directories. They are only read.
        out: the run directory to merge into. It is made if it does not exist, and keeps what it has. Shards of one
            suite become one run in it.
        progress: a function that gets the number of cells and datasets that are done, and how many there are.

    Returns:
        What was copied, kept and left out, and which cells have two different results (the first one stays).

    Raises:
        StoreError: a directory is no run directory, a run is using it, or it is `out`; nothing is written then.

    Example:
        >>> import trilemma
        >>> trilemma.merge(["runs/a", "runs/b"], out="runs/both")  # doctest: +SKIP
    """
    from .store.frame import load_frame

    done = merge_directories(directories, out, progress or (lambda count, total: None))
    store = Store(out)
    written, done.problems = _observed(store, Registry(), load_frame(store))
    done.written = [str(file) for file in written]
    return done


def load_results(path: str | Path, *, superseded: bool = False) -> pd.DataFrame:
    """Load the results in a run directory in long form, with one row per cell, sampler setting and metric.

    Failures are rows too. Results that are superseded by newer ones of the same model, options, dataset, seed, budget
    and device are left out, unless `superseded` is true. Raises StoreError if the directory holds no run.
    """
    from .analysis.shown import Results
    from .store.frame import load_frame

    store = Store(path)
    return Results(load_frame(store, superseded=superseded), store.path)


def make_runner(
    suite: Source = "quick",
    *,
    out: str | Path | None = None,
    models: Sequence[str] | None = None,
    datasets: Sequence[str] | None = None,
    data: Paths = (),
    seeds: int | Sequence[int] | None = None,
    budget: str | None = None,
    set: Iterable[str] = (),
    jobs: int | None = None,
    threads: int = 1,
    device: str = "cpu",
    shard: Shard | str | tuple[int, int] | None = None,
    plugins: Iterable[str | Path] = (),
    rerun: bool = False,
    max_failures: int | None = None,
    download: bool = False,
    executor: str = "local",
    observers: Iterable[str] = (),
    progress: Progress | None = None,
    **cluster: Any,
) -> Runner:
    """Make a runner for a suite with changes. The arguments are the same as in `run`; `cluster` is of the executor."""
    part = None if shard is None else Shard.parse(shard)
    cluster = own_options(executor, cluster)
    changes: dict[str, Any] = {"models": models, "datasets": datasets, "seeds": seeds, "budget": budget, "set": set}
    paths = [data] if isinstance(data, str | Path) else list(data)
    document = document_of(suite, **({} if paths else changes))  # changes may be of own data, which plugins name
    files, environments = all_plugins(document, plugins)
    Zygote.shared(threads).begin()  # it loads the libraries while this process does
    registry = Registry(files)
    if paths:
        document = document_of(suite, own=own_entries(paths, registry), **changes)
    observe_with(registry, observers)
    resolved = resolve(document, registry, partial(ask_interpreters, environments, files))
    path = path_of(out, document, part)
    if paths:
        refuse_other_data((read_run(Store(path).path) or {"cells": []})["cells"], resolved, path)
    options: dict[str, Any] = {
        **{"device": device, "jobs": jobs, "threads": threads, "rerun": rerun, "max_failures": max_failures},
        **{"download": download, "plugin_files": files, "shard": part, "progress": progress or Silent()},
    }
    if executor == "slurm":
        runner: Runner = SlurmRunner(
            resolved, registry, Store(path), **options, environments=environments, **_slurm(cluster)
        )
    else:
        runner = Runner(resolved, registry, Store(path), **options, engine=make_engine(executor, cluster))
    if named := document.values.get("plugins"):
        runner.progress.message(f"{document.file or 'the suite'} loads plugins: {', '.join(named)}")
    for warning in registry.warnings():
        runner.progress.message(warning)
    return runner


def memory(
    suite: Source = "quick",
    *,
    out: str | Path | None = None,
    threads: int = 1,
    shard: Shard | str | tuple[int, int] | None = None,
    device: str = "cpu",
    plugins: Iterable[str | Path] = (),
    **changes: Any,
) -> Memory:
    """The memory of this run. The arguments are those of `run`. Raises SuiteError if the suite cannot be read."""
    document = document_of(suite, **changes)
    files, environments = all_plugins(document, plugins)
    part = None if shard is None else Shard.parse(shard)
    asked = {
        "suite": document.values,
        "threads": threads,
        "device": device,
        "plugins": [*files, *environments.items()],
        "shard": str(part),
    }
    return Memory(path_of(out, document, part), asked)


def remember(memory: Memory, runner: Runner, failed: bool) -> None:
    """Remember an ended run if it leaves nothing to do, so that it is recognized the next time.

    Runs are always planned if a plugin observes them, and if a dataset depends on files of the user.
    """
    observed = any(runner.registry.observed_by_others(hook) for hook in ("run_started", "run_finished"))
    files = any(dataset.stamp for dataset in runner.resolved.datasets)
    elsewhere = any(model.environment for model in runner.resolved.models)  # which reads files that nobody watches here
    wrong = elsewhere or runner.interrupted or runner.problems or runner.registry.warnings()
    if observed or files or wrong or failed:
        return
    state = memory.state()
    if not runner.todo(runner.plan(Supervisor(Zygote.shared(runner.threads)))):
        memory.remember(runner.written, state)


def _slurm(options: dict[str, Any]) -> dict[str, Any]:
    return options | ({"slurm": parse_options(options["slurm"])} if "slurm" in options else {})


def finish(runner: Runner) -> pd.DataFrame:
    """Load the frame of an ended run, and call the observers, which write the report.

    The files that they wrote are then in `runner.written`, and their errors in `runner.problems`.
    """
    frame, written, problems = end(runner.store, runner.registry)
    runner.written += written
    runner.problems += problems
    for problem in problems:
        runner.progress.message(problem)
    return frame


def end(store: Store, registry: Registry) -> tuple[pd.DataFrame, list[Path], list[str]]:
    """Load the frame of an ended run, and call the observers. Returns it, the files they wrote, and their errors."""
    from .store.frame import load_frame

    frame = load_frame(store)
    return frame, *_observed(store, registry, frame)


def _observed(store: Store, registry: Registry, frame: pd.DataFrame) -> tuple[list[Path], list[str]]:
    """Call the observers of the end of a run. Returns the files that they wrote, and their errors."""
    from .analysis.view import report_sections

    written: list[Path] = []
    problems = []
    sections = report_sections(registry)
    for seen in registry.observe("run_finished", path=store.path, results=frame, sections=sections):
        if seen.error:
            problems.append(seen.error)
        elif seen.value:
            try:
                written += [Path(file) for file in seen.value]
            except TypeError:
                problems.append(f"trilemma_run_finished of plugin '{seen.plugin}' returned no list of files")
    return written, problems
