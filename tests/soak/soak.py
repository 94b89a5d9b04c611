"""The soak: random faults in runs of short cells, until a number of them or a time is reached.

    tox -e soak                              ten minutes
    tox -e soak -- --faults 1000             a thousand faults, as long as they need
    tox -e soak -- --executors local --seed 7

It ends with 1 if an innocent cell was lost, a run hung, a process was left, a guilty cell had a wrong outcome, the run
directory was damaged, or the resumed run differed from an undisturbed one. With `--page` it writes its figures.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

from command import HERE, call, environment, numbers, results
from episode import ENDS_THE_RUN, SEEDS, Episode, Reference, Report, write_suite
from faults import KINDS
from hostile import EXPECTED
from page import write_page

SHARES = {"local": 0.5, "shards": 0.25, "dask": 0.25}
PER_EPISODE = 60
MOST_MISSES = 5  # of a kind, after which the soak stops to look for an aim
DISK = ("disk full", "read-only disk")
SLOW = ("hangs", "hangs-in-c", "regicide")
"""Models that cost a run most, again each time that it starts again: an episode has these, or faults that end a run."""


def main() -> None:
    """Run the soak."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="soak-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        can_mount = _can_mount(folder / "mount")
        reference = _reference(folder / "reference")
        reports = _run(options, folder, can_mount, reference)
    if options.page:
        write_page(options.page, reports, can_mount)
    problems = [problem for report in reports for problem in report.problems]
    total = sum(report.injected.total() for report in reports)
    print(f"{total} faults in {len(reports)} episodes, {len(problems)} problems")
    sys.exit(bool(problems))


def _run(options: argparse.Namespace, folder: Path, can_mount: bool, reference: Reference) -> list[Report]:
    """Run episodes, several at once, until the faults are in or the time is over."""
    executors = [name for name in SHARES if name in options.executors.split(",")]
    quotas = {executor: _quota(executor, executors, options.faults, can_mount) for executor in executors}
    reports = _earlier(options.json)
    for report in reports:
        if report.executor in quotas:
            quotas[report.executor] -= report.injected
    chance = random.Random(f"{options.seed} {len(reports)}")  # an own sequence for each part of a soak
    turns, missed = itertools.cycle(executors), Counter[tuple[str, str]]()
    deadline = time.monotonic() + 60 * options.minutes if options.minutes else float("inf")
    running: dict[Future[Report], tuple[str, Counter[str]]] = {}
    with ThreadPoolExecutor(options.at_once) as pool:
        for number in itertools.count():
            while (
                len(running) < options.at_once
                and time.monotonic() < deadline
                and any(map(Counter.total, quotas.values()))
            ):
                executor = next(name for name in turns if quotas[name].total())
                wanted = _draw(quotas[executor], chance)
                quotas[executor] -= wanted
                seed, place = chance.randrange(2**32), folder / f"{number}-{len(running)}"
                running[pool.submit(_episode, place, executor, wanted, seed, reference)] = executor, wanted
            if not running:
                return reports
            for future in wait(running, return_when="FIRST_COMPLETED").done:
                executor, wanted = running.pop(future)
                reports.append(future.result())
                _print(len(reports), reports[-1])
                _keep(options.json, reports)
                for kind, count in (wanted - reports[-1].injected).items():  # nothing was there to aim at
                    missed[executor, kind] += 1
                    quotas[executor][kind] += count if missed[executor, kind] < MOST_MISSES else 0
    raise AssertionError


def _earlier(file: Path | None) -> list[Report]:
    """The reports of an earlier soak that this one goes on with."""
    if file is None or not file.exists():
        return []
    kept = json.loads(file.read_text())
    return [Report(**{**report, "injected": Counter(report["injected"])}) for report in kept]


def _keep(file: Path | None, reports: list[Report]) -> None:
    if file is not None:
        new = file.with_suffix(".new")
        new.write_text(
            json.dumps([{**vars(report), "injected": dict(report.injected)} for report in reports], indent=1)
        )
        new.replace(file)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, help="how many faults; without it, as many as fit into ten minutes")
    parser.add_argument("--minutes", type=float, help="begin no episode after so many minutes")
    parser.add_argument("--executors", default=",".join(SHARES), help="which executors, separated by commas")
    parser.add_argument("--seed", type=int, default=0, help="seed of the faults")
    parser.add_argument("--at-once", type=int, default=2, help="how many episodes run at the same time")
    parser.add_argument("--page", type=Path, help="write the figures into this Markdown file")
    parser.add_argument("--json", type=Path, help="keep the reports of all episodes in this file, and go on with it")
    options = parser.parse_args()
    if options.faults is None:
        options.faults, options.minutes = 1000, options.minutes or 10.0
    return options


def _quota(executor: str, executors: list[str], faults: int, can_mount: bool) -> Counter[str]:
    """How many faults of each kind an executor gets: equal numbers, at least one."""
    kinds = [kind for kind in (*KINDS, *EXPECTED, "damaged file") if can_mount or kind not in DISK]
    if executor != "dask":
        kinds = [kind for kind in kinds if "Dask" not in kind]
    share = SHARES[executor] / sum(SHARES[name] for name in executors)
    return Counter({kind: max(1, round(faults * share / len(kinds))) for kind in kinds})


def _draw(quota: Counter[str], chance: random.Random) -> Counter[str]:
    """The faults of the next episode: those of which most are left more often, few of those that end a run."""
    left, wanted = Counter(quota), Counter[str]()
    while left.total() and wanted.total() < PER_EPISODE:
        kind = chance.choices(list(left), weights=list(left.values()))[0]
        apart = next((kinds for kinds in (SLOW, ENDS_THE_RUN) if kind in kinds), ())
        if apart:
            left -= Counter(dict.fromkeys({*SLOW, *ENDS_THE_RUN} - {*apart}, left.total()))
        several = SEEDS if kind in EXPECTED else 1
        few = (
            sum(wanted[each] for each in ENDS_THE_RUN) >= 2
            if kind in ENDS_THE_RUN
            else wanted[kind] >= 3 and kind in DISK
        )
        if few or (kind in EXPECTED and wanted[kind]):
            del left[kind]
            continue
        wanted[kind] += several
        left -= Counter({kind: several})
    return wanted


def _episode(folder: Path, executor: str, wanted: Counter[str], seed: int, reference: Reference) -> Report:
    disk = folder / "disk"
    disk.mkdir(parents=True)
    mounted = any(wanted[kind] for kind in DISK)
    with _mounted(disk) if mounted else contextlib.nullcontext():
        episode = Episode(folder, executor, wanted, seed, reference, mounted)
        report = episode.run()
        if report.problems:
            shutil.copytree(folder, Path(tempfile.mkdtemp(prefix="soak-problem-")) / "episode")
    shutil.rmtree(folder, ignore_errors=True)
    return report


def _reference(folder: Path) -> Reference:
    """The numbers of an undisturbed run of the cells that behave."""
    folder.mkdir()
    suite, env, out = write_suite(folder, []), environment("reference", folder / "clock"), folder / "run"
    done = call("run", str(suite), "--out", str(out), "--plugin", str(HERE / "hostile.py"), env=env)
    if done.returncode != 0:
        sys.exit(f"the undisturbed run failed: {done.stderr[-2000:]}")
    return numbers(results(out, env), out)


def _can_mount(place: Path) -> bool:
    place.mkdir()
    try:
        with _mounted(place):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


@contextlib.contextmanager
def _mounted(place: Path) -> Iterator[None]:
    """A small disk of its own at `place`."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400m", "tmpfs", str(place)], check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=False, capture_output=True)


def _print(number: int, report: Report) -> None:
    faults = ", ".join(f"{count} {kind}" for kind, count in sorted(report.injected.items()))
    print(f"{number:3} {report.executor:6} {report.seconds:5.0f} s  {faults}", flush=True)
    for problem in report.problems:
        print(f"    PROBLEM {problem}", flush=True)


if __name__ == "__main__":
    main()
