"""The Python interface: run a suite, and load results."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .contracts.budget import parse_budget
from .errors import SuiteError, TrilemmaError
from .execution.finished import Memory
from .execution.processes.forks import Zygote
from .execution.processes.supervisor import Supervisor
from .execution.progress import Progress, Silent
from .execution.run import Runner
from .execution.scheduling.engines import make_engine, own_options
from .execution.slurm.cluster import parse_options
from .execution.slurm.launcher import SlurmRunner
from .planning.elsewhere import ask_interpreters
from .planning.limits import too_many_seeds
from .planning.named_plugins import all_plugins
from .planning.resolve import resolve
from .planning.shards import Shard
from .planning.suite import Document, read_document
from .plugins import Registry
from .store.merge import merge as merge_directories
from .store.store import Store

if TYPE_CHECKING:
    import pandas as pd

    from .store.merged_records import Merged

Source = str | Path | Mapping[str, Any]


def run(suite: Source = "quick", *, out: str | Path | None = None, **options: Any) -> pd.DataFrame:
    """Run a suite and return its results in long form, with one row per cell, sampler setting and metric.

    Args:
        suite: name of a built-in suite, path to a TOML file, or the content of such a file as a mapping.
        out: run directory; by default `runs/<name of the suite>`, with `-shard-2-of-8` for a shard. Results that it
            already holds are not run again.
        **options: `models`, `datasets` (names to run), `seeds` (a number, or a list), `budget` ("10s" or "2000steps"),
            `set` (assignments such as "budget.steps=500"), `jobs` (cells at a time), `threads` (of each cell),
            `device` ("cpu", "cuda"), `shard` ("2/8" or (2, 8): the second of eight parts of the cells), `plugins`
            (files, or modules that are importable), `rerun` (repeat finished cells), `max_failures` (start no more
            cells when so many have failed), `download` (allow datasets to download their files), `executor`
            ("local", "dask", "slurm"); for Dask `scheduler_address`, `scheduler_file` and `worker_wait` (seconds to
            wait for workers); for Slurm `slurm` (options such as ["partition=gpu"]), `max_jobs` (at a time) and
            `cancel` (end the jobs of an earlier call).

    Raises:
        SuiteError: the suite is not valid; the message lists every mistake.
        TrilemmaError: the run cannot start (directory in use, no such device).
        KeyboardInterrupt: the run was interrupted; finished cells are kept.

    Example:
        >>> import trilemma
        >>> frame = trilemma.run("smoke", out="runs/try")  # doctest: +SKIP
    """
    runner = make_runner(suite, out=out, **options)
    runner.run()
    frame = finish(runner) if runner.store.holds_run else None
    if runner.interrupted or frame is None:
        raise KeyboardInterrupt
    return frame


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
    from .store.frame import load_frame

    return load_frame(Store(path), superseded=superseded)


def make_runner(
    suite: Source = "quick",
    *,
    out: str | Path | None = None,
    models: Sequence[str] | None = None,
    datasets: Sequence[str] | None = None,
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
    progress: Progress | None = None,
    **cluster: Any,
) -> Runner:
    """Make a runner for a suite with changes. The arguments are the same as in `run`; `cluster` is of the executor."""
    part = None if shard is None else Shard.parse(shard)
    cluster = own_options(executor, cluster)
    document = _document(suite, models=models, datasets=datasets, seeds=seeds, budget=budget, set=set)
    files, environments = all_plugins(document, plugins)
    if environments and executor != "local":
        raise TrilemmaError(f"plugins with an environment of their own run on this machine only, not with {executor}")
    registry = Registry(files)
    resolved = resolve(document, registry, partial(ask_interpreters, environments, files))
    path = _path(out, document, part)
    options: dict[str, Any] = {
        "device": device,
        "jobs": jobs,
        "threads": threads,
        "rerun": rerun,
        "max_failures": max_failures,
        "download": download,
        "plugin_files": files,
        "shard": part,
        "progress": progress or Silent(),
    }
    if executor == "slurm":
        runner: Runner = SlurmRunner(resolved, registry, Store(path), **options, **_slurm(cluster))
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
    document = _document(suite, **changes)
    files, environments = all_plugins(document, plugins)
    part = None if shard is None else Shard.parse(shard)
    asked = {
        "suite": document.values,
        "threads": threads,
        "device": device,
        "plugins": [*files, *environments.items()],
        "shard": str(part),
    }
    return Memory(_path(out, document, part), asked)


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


def _document(
    suite: Source,
    *,
    models: Sequence[str] | None = None,
    datasets: Sequence[str] | None = None,
    seeds: int | Sequence[int] | None = None,
    budget: str | None = None,
    set: Iterable[str] = (),
) -> Document:
    document = read_document(suite)
    document.select("models", models)
    document.select("datasets", datasets)
    if seeds is not None:
        document.put("seeds", seeds if isinstance(seeds, int) else list(seeds), "--seeds")
    if budget is not None:
        document.put("budget", parse_budget(budget), "--budget")
    document.override(set)
    if wrong := too_many_seeds(document.values.get("seeds")):  # said before anything imports a plugin
        raise SuiteError([document.problem(("seeds",), wrong)])
    return document


def _slurm(options: dict[str, Any]) -> dict[str, Any]:
    return options | ({"slurm": parse_options(options["slurm"])} if "slurm" in options else {})


def _path(out: str | Path | None, document: Document, part: Shard | None) -> Path:
    if out is not None:
        return Path(out)
    return Path("runs") / f"{document.values.get('name')}{part.suffix if part else ''}"


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
