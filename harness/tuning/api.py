"""The Python interface: search for good options of a model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..contracts.budget import Budget, parse_budget
from ..plugins.places import located
from .record import Tuned
from .tune import Tuner


def tune(
    model: str,
    dataset: str,
    *,
    trials: int = 20,
    budget: str = "10s",
    seeds: int = 1,
    further: int = 3,
    space: Sequence[str] = (),
    objective: str | None = None,
    sampler: str | None = None,
    config: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    search_seed: int = 0,
    jobs: int | None = None,
    threads: int = 1,
    device: str = "cpu",
    limit: float | None = None,
    plugins: Iterable[str | Path] = (),
    download: bool = False,
) -> Tuned:
    """Search for good options of a model, on validation data only: the test split is dropped when the data is loaded.

    Every trial is an ordinary training under the same budget. The first one has the defaults of the model. In the end
    the best options and the defaults are compared on further seeds.

    Args:
        model: name of the model.
        dataset: name of the dataset.
        trials: number of trials.
        budget: of each training, such as "10s" or "2000steps".
        seeds: number of trainings of each trial.
        further: number of seeds of the comparison in the end; 0 for none.
        space: ranges such as "lr=log:1e-4:1e-2"; by default those that the model declares.
        objective: a quantity of a metric; by default the NLL, or the energy distance of models without a likelihood.
        sampler: its name, for an objective of samples.
        config: options of the dataset.
        out: run directory, from which an interrupted search goes on; by default `runs/tune-MODEL-DATASET`.
        search_seed: seed of the proposals.
        jobs: trainings at a time, by default 1.
        threads: threads of each training.
        device: "cpu", "cuda" or "cuda:1".
        limit: wall seconds of one training with its evaluation; by default 600, or 10 times the budget.
        plugins: files of unpackaged plugins.
        download: allow datasets to download their files.

    Raises:
        TrilemmaError: a name, a range or an option is wrong, Optuna is not installed, or the defaults give no value.
        KeyboardInterrupt: the search was interrupted; the same call goes on from what is stored.

    Example:
        >>> import trilemma
        >>> tuned = trilemma.tune("realnvp", "ring8", budget="5s", trials=12)  # doctest: +SKIP
        >>> print(tuned.fragment())  # doctest: +SKIP
    """
    tuner = make_tuner(**locals())
    tuned = tuner.run()
    if tuner.interrupted or tuned is None:
        raise KeyboardInterrupt
    return tuned


def make_tuner(
    model: str,
    dataset: str,
    *,
    budget: str = "10s",
    config: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    jobs: int | None = None,
    plugins: Iterable[str | Path] = (),
    **options: Any,
) -> Tuner:
    """Make a tuner. The arguments are the same as in `tune`; `progress` and `told` receive reports."""
    return Tuner(
        model,
        dataset,
        Budget(**parse_budget(budget)),
        Path(out) if out is not None else Path("runs") / f"tune-{model}-{dataset}",
        dict(config or {}),
        jobs=jobs or 1,
        plugins=tuple(located(plugin) for plugin in plugins),
        **options,
    )
