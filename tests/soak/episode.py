"""One episode of the soak: a suite, run while faults are put in, and then again without them."""

from __future__ import annotations

import contextlib
import random
import subprocess
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from cluster import Cluster
from command import COMMAND, HERE, call, environment, numbers, outcomes, results
from faults import KINDS, Injected, Target, damage
from hostile import EXPECTED
from processes import marked, workers

RUN_SECONDS = 900.0  # a run that takes longer hangs
GONE_SECONDS = 30.0  # within which everything that a run started must have ended
PAUSE_SECONDS = 0.3  # between two faults, on average
SUITE = """
name = "soak"
budget = {{ steps = 60 }}
limits = {{ seconds = {limit}, memory_gib = 1.5 }}
datasets = [{{ name = "ring8", config = {{ n_train = 300, n_valid = 50, n_test = 100 }} }},
            {{ name = "moons", config = {{ n_train = 300, n_valid = 50, n_test = 100 }} }}]
seeds = {seeds}
metrics = {{ nll = {{ n = 50 }}, wasserstein = {{ n = 50, draws = 2 }} }}
models = [{{ name = "steady" }}, {{ name = "realnvp", config = {{ transforms = 2 }} }}{guilty}]
"""
GUILTY = ', {{ name = "{name}", datasets = ["ring8"] }}'
AT_THE_END = "at the end"
SEEDS = 4  # a guilty model is so many guilty cells
LIMIT = 12  # seconds of a cell: a busy machine needs 10 for one that behaves, and a guilty one hangs so long
ENDS_THE_RUN = ("SIGKILL of the parent", "SIGTERM of the parent", "SIGKILL of the Dask scheduler")
Reference = dict[str, dict[str, Any]]


@dataclass
class Report:
    """What an episode did and found."""

    executor: str
    injected: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    cells: int = 0
    seconds: float = 0.0


class Episode:
    """A run with faults in a folder of its own. `wanted` are the kinds of faults to put in, each with a number.

    `reference` has the numbers of an undisturbed run of the cells that behave.
    """

    def __init__(
        self, folder: Path, executor: str, wanted: Counter[str], seed: int, reference: Reference, mounted: bool
    ) -> None:
        self.folder, self.executor, self.mounted, self.reference = folder, executor, mounted, reference
        self.random = random.Random(seed)
        self.mark = uuid.uuid4().hex
        self.env = environment(self.mark, folder / "clock")
        self.external = Counter({kind: number for kind, number in wanted.items() if kind in KINDS})
        self.damages = wanted["damaged file"]
        self.guilty = [name for name in EXPECTED if wanted[name]]
        self.report = Report(executor, Counter(dict.fromkeys(self.guilty, SEEDS)))
        self.hit: set[str] = set()
        self.disk = folder / "disk"
        self.suite = write_suite(folder, self.guilty)

    def run(self) -> Report:
        """Run with faults, then without, and check what is left."""
        started = time.monotonic()
        parts = ["1/2", "2/2"] if self.executor == "shards" else [""]
        outs = [self.disk / f"run{part[:1]}" for part in parts]
        with Cluster(self.env, self.folder) if self.executor == "dask" else Cluster.none() as self.cluster:
            for part, out in zip(parts, outs, strict=True):
                self._disturbed_until_done(out, [*self._arguments(out), *(["--shard", part] if part else [])])
        final = outs[0]
        if self.executor == "shards":
            final = self.disk / "merged"
            self._expect(call("merge", *map(str, outs), "--out", str(final), env=self.env), 0)
        for _ in range(self.damages):
            self._damage(final)
        self._expect(call("doctor", str(final), "--repair", env=self.env), 0, 1)
        self.executor = "local"
        fails = any(EXPECTED[name] != "ok" for name in self.guilty)
        self._expect(call("run", *self._arguments(final), env=self.env), int(fails))
        self._check(final, AT_THE_END)
        self._expect(call("doctor", str(final), env=self.env), 0)
        self.report.seconds = time.monotonic() - started
        return self.report

    def _arguments(self, out: Path) -> list[str]:
        arguments = [str(self.suite), "--out", str(out), "--plugin", str(HERE / "hostile.py"), "-j", "4"]
        if self.executor == "dask":
            arguments += ["--executor", "dask", "--scheduler-address", self.cluster.address]
        return arguments

    def _disturbed_until_done(self, out: Path, arguments: list[str]) -> None:
        """Run with faults, and again after those that end the run itself, until one run has ended by itself."""
        # Once more if a full or read-only disk kept the run from starting.
        for _ in range(2 + sum(self.external[kind] for kind in ENDS_THE_RUN)):
            self.cluster.start()
            if self._disturbed(out, arguments):
                if out.exists():
                    self._check(out, "after the faults", self.hit)
                return

    def _disturbed(self, out: Path, arguments: list[str]) -> bool:
        """One run with faults. Returns whether it came to its end by itself."""
        by_itself, held = True, False
        deadline = time.monotonic() + RUN_SECONDS
        with (self.folder / "output").open("ab") as output:
            parent = psutil.Popen([*COMMAND, "run", *arguments], stdout=output, stderr=output, env=self.env)
            target = Target(
                self.mark, out, frozenset(self.cells), self.random, parent,
                lambda: call("run", *arguments, env=self.env), self.folder / "clock", self.mounted, self.cluster,
            )  # fmt: skip
            while parent.poll() is None and time.monotonic() < deadline:
                time.sleep(self.random.expovariate(1 / PAUSE_SECONDS))
                kinds = [kind for kind, number in self.external.items() if number > 0]
                kind = self.random.choice(kinds) if kinds else ""
                found = KINDS[kind](target) if kind and parent.poll() is None else None
                if found is not None:
                    self._note(found)
                    by_itself = by_itself and kind not in ENDS_THE_RUN
                    self.cluster.start()  # a worker in place of one that was killed
                    held = held or kind in ("disk full", "read-only disk")
            if parent.poll() is None:
                self._problem("the run hung")
                parent.kill()
            code = parent.wait()
        # A run whose disk is full or read-only when it starts or writes its report may end with an error.
        if by_itself and code not in ((0, 1, 2) if held else (0, 1)):
            self._problem(f"a run ended with {code}: {self._output()}")
        self._check_orphans()
        return by_itself and code in (0, 1)

    def _note(self, found: Injected) -> None:
        self.external[found.kind] -= 1
        self.report.injected[found.kind] += 1
        if found.hit:
            self.hit.add(found.hit)
        if found.excuses_all:
            self.hit |= set(self.cells)
        if found.wrong:
            self._problem(found.wrong)

    @property
    def cells(self) -> dict[str, Any]:
        """The cells that behave, by id."""
        return self.reference

    def _damage(self, out: Path) -> None:
        found = [file for kind in ("cells", "evaluations", "data") for file in (out / kind).rglob("*")]
        files = [file for file in (*found, out / "run.json") if file.is_file()]
        if not files:
            return
        damage(self.random.choice(sorted(files)), self.random)
        self.report.injected["damaged file"] += 1

    # Checking

    def _check(self, out: Path, when: str, hit: set[str] | frozenset[str] = frozenset()) -> None:
        """Every cell has the outcome and the numbers that it should, but for those that were hit themselves."""
        try:
            rows = results(out, self.env)
        except RuntimeError as error:
            self._problem(f"{when}: {error}")
            return
        models = {row["cell"]: row["model"] for row in rows}
        found = numbers(rows, out)
        for cell, outcome in outcomes(rows).items():
            expected = EXPECTED.get(models[cell], "ok")
            # While a disk is full its dataset may not load. Its cells then have ids without the checksum of the data.
            without_data = cell not in self.reference and set(self.cells) <= hit
            if outcome != expected and cell not in hit and not (hit and (models[cell] in EXPECTED or without_data)):
                self._problem(f"{when}: {models[cell]} ({cell}) is {outcome} and not {expected}")
            elif outcome == "ok" and cell in self.reference and found[cell] != self.reference[cell]:
                self._problem(f"{when}: {models[cell]} ({cell}) has other numbers than an undisturbed run")
        if when == AT_THE_END and (lost := set(self.reference) - set(found)):
            self._problem(f"{when}: {len(lost)} cells are lost")
        self.report.cells = len(models)

    def _check_orphans(self) -> None:
        deadline = time.monotonic() + GONE_SECONDS
        while left := self._left():
            if time.monotonic() > deadline:
                self._problem(f"{len(left)} processes were left: {_names(left)}")
                for process in left:
                    process.kill()
                return
            time.sleep(0.3)

    def _left(self) -> list[psutil.Process]:
        """The processes of the run that live. Those of a cluster may, as long as no cell runs below them."""
        allowed = set()
        for process in (each for group in self.cluster.values() for each in group):
            with contextlib.suppress(psutil.Error):
                allowed |= {process.pid, *(child.pid for child in process.children(recursive=True))}
        allowed -= {worker.process.pid for worker in workers(self.mark)}
        return [process for process in marked(self.mark) if process.pid not in allowed]

    def _expect(self, done: subprocess.CompletedProcess[str], *codes: int) -> None:
        if done.returncode not in codes:
            command = " ".join(done.args[3:6])
            self._problem(f"`{command}` ended with {done.returncode}: {done.stderr[-500:]}")
        self._check_orphans()

    def _problem(self, text: str) -> None:
        self.report.problems.append(text)

    def _output(self) -> str:
        return (self.folder / "output").read_text(errors="replace")[-500:]


def write_suite(folder: Path, guilty: list[str]) -> Path:
    """Write the suite of an episode. Returns its file."""
    file = folder / "soak.toml"
    entries = "".join(GUILTY.format(name=name) for name in guilty)
    file.write_text(SUITE.format(limit=LIMIT, seeds=SEEDS, guilty=entries))
    return file


def _names(processes: list[psutil.Process]) -> str:
    found = []
    for process in processes[:3]:
        with contextlib.suppress(psutil.Error):
            found.append(f"{process.status()} {' '.join(process.cmdline())[:200]}")
    return "; ".join(found)
