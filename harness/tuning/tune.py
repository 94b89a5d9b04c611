"""The search for the options of a model: ordinary cells under one budget, of which only validation data is read."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..analysis.statistics import mean_interval
from ..contracts.budget import Budget
from ..errors import TrilemmaError
from ..execution.progress import Progress, Silent
from ..execution.run import Runner
from ..planning.choices import DatasetChoice, Resolved
from ..planning.resolve import resolve
from ..planning.sources import training_source
from ..planning.suite import read_document
from ..plugins import Registry
from ..plugins.places import is_file
from ..store.claim import claim_directory, exclusive
from ..store.files import write_whole
from ..store.store import Store
from .objective import Reading, objective_of, reading
from .record import Comparison, Tuned
from .search import Search, Trial
from .space import Options, defaults, options_of, search_space

JOURNAL, RECORD = "optuna.log", "tuned.toml"
FURTHER_SEEDS = 1_000_000
"""The first of the seeds on which the best options are compared with the defaults: no trial has used it."""


@dataclass
class Tuner:
    """A search for one model on one dataset, in the run directory `path`.

    `seeds` is the number of trainings of each trial, whose values are averaged. `further` is the number of seeds on
    which the best options are compared with the defaults in the end.
    """

    model: str
    dataset: str
    budget: Budget
    path: Path
    config: Mapping[str, Any]
    trials: int = 20
    seeds: int = 1
    further: int = 3
    space: Sequence[str] = ()
    objective: str | None = None
    sampler: str | None = None
    search_seed: int = 0
    device: str = "cpu"
    jobs: int = 1
    threads: int = 1
    limit: float | None = None
    """Wall seconds of one cell; by default 600, or 10 times a budget in seconds if this is more."""
    download: bool = False
    plugins: tuple[str, ...] = ()
    progress: Progress | None = None
    told: Callable[[Trial, Trial | None], None] = lambda trial, best: None
    interrupted: bool = False

    def __post_init__(self) -> None:
        self._registry = Registry(self.plugins)
        self._class = self._registry.get("models", self.model)
        self._registry.get("datasets", self.dataset)
        self._axes = search_space(self._class, self.space)
        self._objective = objective_of(self._class, self._registry, self.objective)
        self._store = Store(self.path)
        self._resolve([{}], [0])  # the first error is of the user, before anything is written

    def run(self) -> Tuned | None:
        """Search, compare and write the record into the run directory. None if it was interrupted before a trial ended.

        Sets `interrupted` after Ctrl-C; the same search then goes on from its journal. Raises TrilemmaError if the
        options that are the defaults fail, because no others would do better.
        """
        claim_directory(self.path)
        with exclusive(journal := self.path / JOURNAL, "search"):
            return self._run(journal)

    def _run(self, journal: Path) -> Tuned | None:
        higher = self._objective.better == "higher"
        search = Search(journal, self._request(), self._axes, seed=self.search_seed, maximize=higher)
        while not self.interrupted and (asked := self._next(search)):
            self._run_trials(search, asked)
        tuned = self._tuned(search)
        if tuned is not None and not self.interrupted and self.further and tuned.changed():
            tuned = replace(tuned, comparison=self._compare(tuned))
        if tuned is not None:
            write_whole(self.path / RECORD, tuned.text().encode())
        return tuned

    def _request(self) -> dict[str, Any]:
        """What is searched. A search goes on only if all of it is the same."""
        return {
            "model": self.model,
            "dataset": self.dataset,
            "config": dict(self.config),
            "objective": self._objective.quantity,
            "better": self._objective.better,
            "budget": self.budget.model_dump(exclude_none=True),
            "seeds": self.seeds,
            "search_seed": self.search_seed,
            "device": self.device.partition(":")[0],
            **self._drawn_by(),
            "ranges": {axis.key: axis.text for axis in self._axes},
            "source": training_source(self._class),
        }

    def _drawn_by(self) -> dict[str, str]:
        """The sampler of an objective of samples."""
        sampler = self.sampler or self._class.samplers[0].name
        return {"sampler": sampler} if self._objective.stage == "sampling" else {}

    def _next(self, search: Search) -> list[Trial]:
        """The trials to run now: those that an interruption has left, or as many new ones as fit beside each other."""
        waiting = search.open_trials()
        room = max(1, self.jobs // self.seeds)
        left = self.trials - len(search.ended()) - len(waiting)
        first = not search.ended()  # the defaults run first and alone: if they fail, there is nothing to search
        return waiting[:room] or [search.ask() for _ in range(min(1 if first else room, left))]

    def _run_trials(self, search: Search, asked: list[Trial]) -> None:
        asked = [trial for trial in asked if not self._refused(search, trial)]
        entries = [options_of(self._axes, trial.values) for trial in asked]
        for trial, readings in zip(asked, self._cells(entries, range(self.seeds)) if asked else [], strict=True):
            if any(found is None for found in readings):
                self.interrupted = True
                continue
            value, why = _mean([found for found in readings if found is not None])
            if trial.number == 0 and value is None:  # it is not told, so that the next call tries it again
                raise TrilemmaError(
                    f"the default options of '{self.model}' give no value ({why}); see {self.path}/logs"
                )
            self._tell(search, replace(trial, value=value, why=why))

    def _refused(self, search: Search, trial: Trial) -> bool:
        """Whether the model refuses these options together, each of which is in its range. The trial is then told."""
        if (
            trial.number == 0
        ):  # options that are the defaults have nothing to fall back on, so their error is the user's
            return False
        try:
            self._resolve([options_of(self._axes, trial.values)], [0])
        except TrilemmaError as error:
            self._tell(search, replace(trial, why=f"refused: {error}"))
            return True
        return False

    def _tell(self, search: Search, trial: Trial) -> None:
        search.tell(trial, trial.value, trial.why)
        tuned = self._tuned(search)
        self.told(trial, None if tuned is None else tuned.best)

    def _cells(self, entries: list[dict[str, Options]], seeds: Iterable[int]) -> list[list[Reading | None]]:
        """Run the cells of several options with several seeds; the readings of each, None where it was interrupted."""
        distinct = [entry for number, entry in enumerate(entries) if entry not in entries[:number]]
        resolved, seeds = self._resolve(distinct, list(seeds)), list(seeds)
        runner = Runner(
            resolved,
            self._registry,
            self._store,
            device=self.device,
            jobs=self.jobs,
            threads=self.threads,
            download=self.download,
            plugin_files=self.plugins,
            progress=self.progress or Silent(),
        )
        runner.run()
        self.interrupted |= runner.interrupted
        found = [reading(self._store, cell, self._objective) for cell in runner.suite_cells]
        return [found[distinct.index(entry) * len(seeds) :][: len(seeds)] for entry in entries]

    def _resolve(self, entries: list[dict[str, Options]], seeds: list[int]) -> Resolved:
        """The suite of some options, with the validation split in place of the test split."""
        limit = self.limit or max(600.0, 10 * (self.budget.seconds or 0.0))
        samplers = {} if self.sampler is None else {"samplers": [{"name": self.sampler}]}
        document = read_document(
            {
                "name": "tune",
                "budget": self.budget.model_dump(exclude_none=True),
                "seeds": seeds,
                "limits": {"seconds": limit},
                "datasets": [{"name": self.dataset, "config": dict(self.config)}],
                "models": [{"name": self.model, **samplers, **entry} for entry in entries],
                "metrics": {self._objective.metric: {}},
            }
        )
        resolved = resolve(document, self._registry)
        if len(resolved.datasets) != 1:
            raise TrilemmaError(f"tuning takes one dataset, but these options of '{self.dataset}' give several")
        (dataset,) = resolved.datasets
        held_out = DatasetChoice(**vars(dataset) | {"label": f"{dataset.label}, validation"}, held_out="valid")
        models = tuple(replace(model, samplers=model.samplers[:1]) for model in resolved.models)
        return replace(resolved, models=models, datasets=(held_out,))

    def _tuned(self, search: Search) -> Tuned | None:
        ended = tuple(search.ended())
        request = {key: value for key, value in self._request().items() if key != "ranges"}
        request["seeds"] = list(range(self.seeds))
        return Tuned(self.command(), request, self._axes, ended) if ended else None

    def command(self) -> str:
        """The command that makes the same search."""
        words = ["trilemma", "tune", self.model, "--dataset", self.dataset, "--trials", str(self.trials)]
        words += ["--budget", str(self.budget).replace(" ", ""), "--seeds", str(self.seeds)]
        words += [] if self.further == type(self).further else ["--further", str(self.further)]
        words += [word for text in self.space for word in ("--space", text)]
        words += [] if self.objective is None else ["--objective", self.objective]
        words += [] if self.sampler is None else ["--sampler", self.sampler]
        words += [word for key, value in self.config.items() for word in ("--set", f"{key}={value}")]
        words += ["--search-seed", str(self.search_seed)] if self.search_seed else []
        words += [] if self.device == type(self).device else ["--device", self.device]
        words += [] if self.limit is None else ["--limit", str(self.limit)]
        words += [word for file in self.plugins for word in ("--plugin", _from_here(file))]
        return shlex.join(words)

    def _compare(self, tuned: Tuned) -> Comparison | None:
        """The best options against the defaults, on seeds that no trial has used. None if it was interrupted."""
        seeds = [FURTHER_SEEDS + number for number in range(self.further)]
        values = [options_of(self._axes, options) for options in (defaults(self._axes), tuned.best.values)]
        readings = self._cells(values, seeds)
        if any(found is None for row in readings for found in row):
            return None
        found = [[math.nan if r is None or r.value is None else r.value for r in row] for row in readings]
        differences = [best - default for default, best in zip(*found, strict=True)]
        difference, low, high = mean_interval(differences)
        default, best = (sum(row) / len(row) for row in found)
        return Comparison(tuple(seeds), default, best, difference, low, high)


def _from_here(file: str) -> str:
    """A plugin as it is named in the working directory: a module, or a path, short if the file is below it."""
    if not is_file(file):
        return file
    path, here = Path(file), Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _mean(readings: list[Reading]) -> tuple[float | None, str]:
    """The mean value of the cells of a trial, or why it has none: a trial with a failed cell has none."""
    why = next((found.why for found in readings if found.value is None), "")
    values = [found.value for found in readings if found.value is not None]
    if why or not all(map(math.isfinite, values)):
        return None, why or "the value is infinite"
    return sum(values) / len(values), ""
