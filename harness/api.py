"""The Python interface: run a suite, and load results."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import TrilemmaError
from .execution.finished import Memory
from .execution.progress import Progress, Silent
from .execution.run import Runner
from .execution.supervisor import Supervisor, Zygote
from .planning.resolve import resolve
from .planning.suite import Document, read_document
from .plugins import Registry
from .store.store import Store

if TYPE_CHECKING:
    import pandas as pd

Source = str | Path | Mapping[str, Any]


def run(suite: Source = "quick", *, out: str | Path | None = None, **options: Any) -> pd.DataFrame:
    """Run a suite and return its results in long form, with one row per cell, sampler setting and metric.

    Args:
        suite: name of a built-in suite, path to a TOML file, or the content of such a file as a mapping.
        out: run directory; by default `runs/<name of the suite>`. Results that it already holds are not run again.
        **options: `models`, `datasets` (names to run), `seeds` (a number, or a list), `budget` ("10s" or "2000steps"),
            `set` (assignments such as "budget.steps=500"), `jobs` (cells at a time), `threads` (of each cell),
            `device` ("cpu", "cuda"), `plugins` (files of unpackaged plugins), `rerun` (repeat finished
            cells), `max_failures` (start no more cells when so many have failed), `download` (allow datasets to
            download their files).

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
    frame = finish(runner)
    if runner.interrupted:
        raise KeyboardInterrupt
    return frame


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
    plugins: Iterable[str | Path] = (),
    rerun: bool = False,
    max_failures: int | None = None,
    download: bool = False,
    progress: Progress | None = None,
) -> Runner:
    """Make a runner for a suite with changes. The arguments are the same as in `run`."""
    document = _document(suite, models=models, datasets=datasets, seeds=seeds, budget=budget, set=set)
    files = tuple(str(Path(file).resolve()) for file in plugins)
    registry = Registry(files)
    resolved = resolve(document, registry)
    path = _path(out, document)
    runner = Runner(
        resolved,
        registry,
        Store(path),
        device=device,
        jobs=jobs,
        threads=threads,
        rerun=rerun,
        max_failures=max_failures,
        download=download,
        plugin_files=files,
        progress=progress or Silent(),
    )
    for warning in registry.warnings():
        runner.progress.message(warning)
    return runner


def memory(
    suite: Source = "quick",
    *,
    out: str | Path | None = None,
    threads: int = 1,
    device: str = "cpu",
    plugins: Iterable[str | Path] = (),
    **changes: Any,
) -> Memory:
    """The memory of this run. The arguments are those of `run`. Raises SuiteError if the suite cannot be read."""
    document = _document(suite, **changes)
    files = [str(Path(file).resolve()) for file in plugins]
    asked = {"suite": document.values, "threads": threads, "device": device, "plugins": files}
    return Memory(_path(out, document), asked)


def remember(memory: Memory, runner: Runner, frame: pd.DataFrame) -> None:
    """Remember an ended run if it leaves nothing to do, so that it is recognized the next time.

    Runs are always planned if a plugin observes them, and if a dataset depends on files of the user.
    """
    observed = any(runner.registry.observed_by_others(hook) for hook in ("run_started", "run_finished"))
    files = any(dataset.stamp for dataset in runner.resolved.datasets)
    wrong = runner.interrupted or runner.problems or runner.registry.warnings()
    failed = not frame.loc[frame["selected"], "outcome"].isin(["ok", "unsupported"]).all()
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
    return document


def _path(out: str | Path | None, document: Document) -> Path:
    return Path(out) if out is not None else Path("runs") / str(document.values.get("name"))


def finish(runner: Runner) -> pd.DataFrame:
    """Load the frame of an ended run, and call the observers, which write the report.

    The files that they wrote are then in `runner.written`, and their errors in `runner.problems`.
    """
    from .analysis.view import report_sections
    from .store.frame import load_frame

    frame = load_frame(runner.store)
    sections = report_sections(runner.registry)
    for seen in runner.registry.observe("run_finished", path=runner.store.path, results=frame, sections=sections):
        if seen.error:
            runner.problems.append(seen.error)
            runner.progress.message(seen.error)
        elif seen.value:
            runner.written += [Path(file) for file in seen.value]
    return frame


def parse_budget(text: str) -> dict[str, Any]:
    """Parse `10s` or `10 seconds` as seconds, and `2000` or `2000 steps` as steps. Raises TrilemmaError."""
    match = re.fullmatch(r"\s*([0-9.]+)\s*(s|sec|seconds|steps?)?\s*", text)
    try:
        if match and (match.group(2) or "steps").startswith("step"):
            return {"steps": int(match.group(1))}
        if match:
            return {"seconds": float(match.group(1))}
    except ValueError:
        pass
    raise TrilemmaError(f"budget '{text}' cannot be read: give seconds such as 10s, or steps such as 2000steps")
