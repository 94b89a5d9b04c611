"""Reads what the page on likelihoods by few steps needs from the run directories of its suites."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from _few_steps_evidence import Value

import trilemma

Record = dict[str, Any]

QUANTITIES = ("nll_gap", "nll", "mass")
"""The quantities of the metric `nll` that are stored."""
LIKELIHOODS = {"ode": "ode", "estimate": "head", "map": "jacobian"}
"""The method of each kind of likelihood."""
MASS_POINTS = 4000
"""Evaluations for a mass, as in the suites."""
OWN_POINTS = {"vector": 2000, "image": 200}
"""Samples of the ODE at which the other likelihoods are compared with it."""


def flow_maps(run: Path) -> Any:
    """The frame of the results of flow maps, which are the models with the penalty as an option."""
    frame = trilemma.load_results(run)
    penalties = [json.loads(str(config)).get("invertibility") for config in frame["config"]]
    return frame.assign(penalty=penalties)[[penalty is not None for penalty in penalties]]


def read(run: Path) -> tuple[Record, list[Value]]:
    """What a run was, and the numbers of its flow maps."""
    frame = flow_maps(run)
    frame = frame[frame["outcome"] == "ok"]
    suite = json.loads((run / "run.json").read_text(encoding="utf-8"))["runs"][-1]["suite"]["name"]
    steps = frame.groupby("dataset", sort=False)["steps"].median()
    about = {
        "suite": suite,
        "models": [str(name) for name in frame["model"].unique()],
        "budget": ", ".join(frame["budget"].unique()),
        "seeds": sorted(int(seed) for seed in frame["seed"].unique()),
        "steps": {str(name): int(count) for name, count in steps.items()},
    }
    values = []
    for row in frame[frame["metric"].isin(QUANTITIES)].itertuples():
        details = json.loads(row.details)
        value = Value(
            suite=suite,
            model=str(row.model),
            dataset=str(row.dataset),
            penalty=float(row.penalty),
            seed=int(row.seed),
            kind=str(row.likelihood),
            steps=int(details["steps"]),
            quantity=str(row.metric),
            value=_number(row.value),
            low=_bound(row.ci_low),
            high=_bound(row.ci_high),
        )
        values.append(value)
        if row.metric == "nll" and "no_mass" in details:
            values.append(mass_untold(value, details["no_mass"], details.get("least_mass")))
    return about, values


def mass_untold(nll: Value, why: str, least: float | None) -> Value:
    """A mass that was not told, of the likelihood with the NLL `nll`."""
    return replace(nll, quantity="mass", value=None, low=_bound(least), high=None, why=why)


def masses_again(run: Path, values: list[Value]) -> list[Value]:
    """The values with masses that are not told measured again at the trained models of `run`, as `nll` does it now."""
    from trilemma.plugins.metrics.likelihood.mass import Mass, mass_of  # here, as torch above

    cells = {
        (row.model, row.dataset, float(row.penalty), int(row.seed)): row.cell
        for row in flow_maps(run).drop_duplicates("cell").itertuples()
    }
    found = []
    for value in values:
        cell = cells.get((value.model, value.dataset, value.penalty, value.seed))
        if cell is None or value.quantity != "mass" or value.value is not None:
            found.append(value)
            continue
        trained = trilemma.load_model(run, cell)
        options = trained.model.Likelihood(method=LIKELIHOODS[value.kind], steps=value.steps)
        with replace(trained._restored, likelihood=options).evaluating() as evaluation:
            mass = mass_of(evaluation, MASS_POINTS)
        if isinstance(mass, Mass):
            low, high = mass.interval()
            told: Any = {"value": _number(mass.value), "low": _number(low), "high": _number(high), "why": ""}
        else:
            told = {"low": _bound(mass.least or None), "why": mass.reason}
        found.append(replace(value, **told))
    return found


def at_own_samples(run: Path, values: list[Value]) -> Iterator[Value]:
    """For each training, the mean of log q - log p at samples of its ODE, whose density is p."""
    from _few_steps_own import excess_at_own_samples  # here, because a build of the page needs no torch

    for row in flow_maps(run).drop_duplicates("cell").itertuples():
        key = (row.model, row.dataset, row.penalty, row.seed)
        same = [value for value in values if (value.model, value.dataset, value.penalty, value.seed) == key]
        if not same:
            continue
        trained = trilemma.load_model(run, row.cell)
        model: Any = trained.model
        pairs = sorted({(value.kind, value.steps) for value in same if value.kind != "ode"})
        info = trilemma.DataInfo(
            name=row.dataset,
            kind="vector" if trained.levels is None else "image",
            shape=trained.shape,
            n_train=1,
            levels=trained.levels,
        )
        settings = [{"method": LIKELIHOODS[kind], "steps": steps} for kind, steps in pairs]
        found = excess_at_own_samples(model, info, settings, OWN_POINTS[info.kind])
        for (kind, steps), (value, low, high) in zip(pairs, found, strict=True):
            told: Any = {"value": _number(value), "low": _bound(low), "high": _bound(high)}
            yield replace(same[0], kind=kind, steps=steps, quantity="own", why="", **told)


def _number(value: Any) -> float:
    return round(float(value), 6)


def _bound(value: Any) -> float | None:
    return None if value is None or math.isnan(float(value)) else _number(value)
