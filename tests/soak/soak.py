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
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from command import HERE, call, environment, numbers, results
from episode import Episode, Reference, Report, write_suite
from faults import KINDS
from hostile import EXPECTED
from page import write_page

SHARES = {"local": 0.5, "shards": 0.25, "dask": 0.25}
PER_EPISODE = 14
ENDS = ("SIGKILL of the parent", "SIGTERM of the parent", "SIGKILL of the Dask scheduler")
DISK = ("disk full", "read-only disk")
SEEDS = 4  # of the suite: a guilty model is so many guilty cells


def main() -> None:
    """Run the soak."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="soak-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        can_mount = _can_mount(folder / "mount")
        reference = _reference(folder / "reference")
        executors = [name for name in SHARES if name in options.executors.split(",")]
        quotas = {executor: _quota(executor, executors, options.faults, can_mount) for executor in executors}
        chance = random.Random(options.seed)
        deadline = time.monotonic() + 60 * options.minutes if options.minutes else float("inf")
        reports: list[Report] = []
        while any(quota.total() for quota in quotas.values()) and time.monotonic() < deadline:
            for executor, quota in quotas.items():
                if quota.total() and time.monotonic() < deadline:
                    wanted = _draw(quota, chance)
                    report = _episode(folder / str(len(reports)), executor, wanted, chance, reference)
                    quota -= report.injected
                    quotas[executor] = +quota
                    reports.append(report)
                    _print(len(reports), report)
    if options.page:
        write_page(options.page, reports, can_mount, options.seed)
    if options.json:
        options.json.write_text(json.dumps([asdict(report) for report in reports], indent=1))
    problems = [problem for report in reports for problem in report.problems]
    total = sum(report.injected.total() for report in reports)
    print(f"{total} faults in {len(reports)} episodes, {len(problems)} problems")
    sys.exit(bool(problems))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, help="how many faults; without it, as many as fit into ten minutes")
    parser.add_argument("--minutes", type=float, help="begin no episode after so many minutes")
    parser.add_argument("--executors", default=",".join(SHARES), help="which executors, separated by commas")
    parser.add_argument("--seed", type=int, default=0, help="seed of the faults")
    parser.add_argument("--page", type=Path, help="write the figures into this Markdown file")
    parser.add_argument("--json", type=Path, help="write the reports of all episodes into this file")
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
        several = SEEDS if kind in EXPECTED else 1
        few = sum(wanted[each] for each in ENDS) >= 2 if kind in ENDS else wanted[kind] >= 3 and kind in DISK
        if few or (kind in EXPECTED and wanted[kind]):
            del left[kind]
            continue
        wanted[kind] += several
        left -= Counter({kind: several})
    return wanted


def _episode(folder: Path, executor: str, wanted: Counter[str], chance: random.Random, reference: Reference) -> Report:
    disk = folder / "disk"
    disk.mkdir(parents=True)
    mounted = any(wanted[kind] for kind in DISK)
    with _mounted(disk) if mounted else contextlib.nullcontext():
        episode = Episode(folder, executor, wanted, chance.randrange(2**32), reference, mounted)
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
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(place)], check=True, capture_output=True)
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
