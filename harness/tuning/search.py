"""The search of Optuna: it proposes options, and remembers the trials in a journal in the run directory."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..contracts.tunable import Choices
from ..errors import StoreError, TrilemmaError
from .space import Axis, Options, defaults

NAME = "trilemma"


@dataclass(frozen=True)
class Trial:
    """One trial: its number, its options by key, and, once it has ended, its value or why it has none."""

    number: int
    values: Options
    value: float | None = None
    why: str = ""


class Search:
    """A search over axes, in the journal `file`. The trials that it holds already are part of it.

    What is proposed depends on `seed`, on the number of the trial and on the values so far. So an interrupted search
    goes on as if it had not been interrupted, except that trials in parallel may end in another order. `request` says
    what is searched. Raises TrilemmaError without Optuna, and StoreError for the journal of another search or a
    damaged one.
    """

    def __init__(self, file: Path, request: dict[str, Any], axes: Sequence[Axis], *, seed: int, maximize: bool) -> None:
        self._optuna, self._axes, self._seed = _import_optuna(), tuple(axes), seed
        self._distributions = {axis.key: self._distribution(axis) for axis in axes}
        try:
            self._study = self._open(file, "maximize" if maximize else "minimize")
            before = self._study.user_attrs.get("request")
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise StoreError(f"{file} cannot be read as a journal ({error}); choose another with --out") from None
        if before is None:
            # In this order: a kill between the two makes the defaults run twice, and does not lose them.
            self._study.enqueue_trial({axis.key: axis.encode(defaults([axis])[axis.key]) for axis in axes})
            self._study.set_user_attr("request", _plain(request))
        elif differing := sorted(key for key in {*before, *request} if before.get(key) != _plain(request.get(key))):
            raise StoreError(
                f"{file.parent} holds another search, with another {', '.join(differing)}; choose another with --out"
            )

    def ask(self) -> Trial:
        """Propose options. The first trial has the defaults of the model."""
        # A sampler of its own for each trial: its random numbers then do not depend on when the search was started.
        number = len(self._study.get_trials(deepcopy=False))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", self._optuna.exceptions.ExperimentalWarning)  # of Optuna 4
            self._study.sampler = self._optuna.samplers.TPESampler(seed=self._seed + number, constant_liar=True)
        asked = self._study.ask(fixed_distributions=self._distributions)
        return self._trial(asked.number, asked.params)

    def tell(self, trial: Trial, value: float | None, why: str = "") -> None:
        """Remember the value of a trial; None and the reason if it has none. It is then worse than all others."""
        worst = -math.inf if self._study.direction.name == "MAXIMIZE" else math.inf
        asked = self._optuna.trial.Trial(self._study, self._study.get_trials(deepcopy=False)[trial.number]._trial_id)
        asked.set_user_attr("why", why)
        self._study.tell(trial.number, worst if value is None else value)

    def open_trials(self) -> list[Trial]:
        """The trials that were proposed and not ended, because the search was interrupted."""
        running = self._optuna.trial.TrialState.RUNNING
        found = self._study.get_trials(deepcopy=False, states=(running,))
        return [self._trial(trial.number, trial.params) for trial in found if len(trial.params) == len(self._axes)]

    def ended(self) -> list[Trial]:
        """The trials that have ended, in order."""
        complete = self._optuna.trial.TrialState.COMPLETE
        found = []
        for trial in self._study.get_trials(deepcopy=False, states=(complete,)):
            value = trial.value if trial.value is not None and math.isfinite(trial.value) else None
            found.append(self._trial(trial.number, trial.params, value, trial.user_attrs.get("why", "")))
        return found

    def _trial(self, number: int, params: dict[str, Any], value: float | None = None, why: str = "") -> Trial:
        return Trial(number, {axis.key: axis.decode(params[axis.key]) for axis in self._axes}, value, why)

    def _distribution(self, axis: Axis) -> Any:
        distributions, range_ = self._optuna.distributions, axis.range
        if isinstance(range_, Choices):
            return distributions.CategoricalDistribution([axis.encode(value) for value in range_.values])
        kind = distributions.IntDistribution if range_.whole else distributions.FloatDistribution
        return kind(range_.low, range_.high, log=range_.log)

    def _open(self, file: Path, direction: str) -> Any:
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        _drop_cut_line(file)
        lock: Any = _Held()
        storage = JournalStorage(JournalFileBackend(str(file), lock_obj=lock))
        return self._optuna.create_study(storage=storage, study_name=NAME, direction=direction, load_if_exists=True)


class _Held:
    """The lock of a journal whose folder this process has locked already, so that a kill leaves no stale lock."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        return None


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _drop_cut_line(file: Path) -> None:
    """Remove a last line without an end, which a kill in the middle of a write has left."""
    try:
        with file.open("r+b") as stream:
            content = stream.read()
            whole = content.rfind(b"\n") + 1
            if whole < len(content):
                stream.truncate(whole)
    except FileNotFoundError:
        return


def _import_optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise TrilemmaError("tuning needs Optuna; install it with `pip install 'trilemma[tune]'`") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
