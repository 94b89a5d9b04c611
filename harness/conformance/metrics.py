"""The checks of a metric: it is computed for a known distribution and for distortions of it."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache, cached_property
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from ..contracts.dataset import Dataset
from ..contracts.metric import Metric
from ..contracts.model import DataInfo
from ..contracts.result import Result
from ..errors import PluginError, TrilemmaError, UnsupportedError
from ..evaluation.evaluation import TrainingRecord
from ..evaluation.spaces import Space
from ..execution.guard import DataGuard
from .distributions import Distorted, ThreeGaussians
from .kit import Kit, failing, needs, no_global_randomness, require
from .left_behind import LeftBehind
from .panel import no_panel, plans, preferences
from .recording import Recording

Found = dict[str, Result]

_POINTS, _DRAWS = 400, 4
_SHIFTS = (0.5, 2.0, 8.0)
_PANEL_SPACES, _PANEL_DRAWS = ("2d", "16d"), 2  # two draws for each value, because the panel repeats it anyway
_OF_THE_MACHINE = ("s", "ms", "MiB", "J")  # units of values that are not the same twice
_SLACK = 2  # two values count as equal within this many half-widths of an interval
_UNIT = 1000.0  # factor of the data in other units
_DRIFT = 0.01  # tolerance besides, as a share of the effect of the largest shift, for intervals without a width


class MetricKit(Kit):
    """The checks of `trilemma check METRIC`."""

    def metric(self, points: int = _POINTS, draws: int = _DRAWS) -> Metric:
        """The metric, with `draws` sets of `points` points each unless a config was given."""
        config = self.config
        if config is None:
            known = self.cls.Config.model_fields
            small = {key: value for key, value in (("n", points), ("draws", draws)) if key in known}
            config = self.cls.Config(**small)
        metric: Metric = self.cls(config)
        return metric

    def evaluation(self, distortion: Distorted.Config, *, data_shift: float = 0.0) -> Recording:
        """An evaluation of a distorted distribution against the true one, in the same unit."""
        dataset = ThreeGaussians(ThreeGaussians.Config(shift=data_shift, unit=distortion.unit))
        space = Space.fit(dataset, flatten=False)
        model = Distorted(distortion)
        model.place(space)
        splits = dataset.splits
        evaluation = Recording(
            model,
            dataset,
            space,
            DataInfo(dataset.name, dataset.kind, dataset.shape, len(splits.train)),
            seed=0,
            device=torch.device("cpu"),
            training=TrainingRecord(seconds=1.0, wall_seconds=1.0, steps=1, peak_memory=1, parameters=1),
        )
        evaluation.record()
        return evaluation

    @cached_property
    def truth(self) -> Found:
        """The results of the true distribution."""
        return self.found()

    def found(self, *, points: int = _POINTS, data_shift: float = 0.0, **distortion: float) -> Found:
        """The results of a distorted distribution, by name."""
        return self._compute(points, data_shift, tuple(sorted(distortion.items())))

    @cache  # noqa: B019 -- a kit lives as long as its checks
    def _compute(self, points: int, data_shift: float, distortion: tuple[tuple[str, float], ...]) -> Found:
        evaluation = self.evaluation(Distorted.Config.model_validate(dict(distortion)), data_shift=data_shift)
        return {result.metric: result for result in self.metric(points).compute(evaluation)}

    def comparing(self) -> list[str]:
        """Names of the results by which models are ranked. Raises UnsupportedError if there are none."""
        if not self.cls.compares:
            raise UnsupportedError("the metric does not compare samples with real data")
        directed = [r for r in self.truth.values() if r.better != "none"]
        if not directed:
            raise UnsupportedError("the metric has no direction, so it ranks nothing")
        return [r.metric for r in directed if r.ranks] or [r.metric for r in directed]

    def slack(self, name: str, *founds: Found) -> float:
        """How much two values of a result may differ by chance."""
        effect = abs(self.found(shift=_SHIFTS[-1])[name].value - self.truth[name].value)
        drift = _DRIFT * effect if np.isfinite(effect) else _DRIFT
        return _SLACK * max(_half(found[name]) for found in (self.truth, *founds)) + drift

    # The checks

    def check_results(self) -> str:
        """Results have distinct names and finite values; metrics that compare give intervals, floors and sizes."""
        evaluation, left = self.evaluation(Distorted.Config()), LeftBehind()
        with no_global_randomness("compute"):
            try:
                guard = DataGuard(evaluation.dataset, lambda: _loaded(evaluation.dataset))
                with left.watching("compute"), guard.watch(self.cls.name):
                    results = self.metric().compute(evaluation)
            except PluginError as error:
                raise failing(f"{error}; write x = x - m, not x -= m", error.__cause__) from error
        require(len({r.metric for r in results}) == len(results), "two results have the same name")
        with no_global_randomness("compute"), left.watching("compute"):
            repeated = self.truth.values()
        require(not left.changes, f"{'; '.join(left.changes)}; set it back before it returns")
        require(bool(results), "there are no results")
        require(
            [_repeatable(result) for result in results] == [_repeatable(result) for result in repeated],
            "the same evaluation gives other values the second time; seed every generator",
        )
        for r in results:
            require(bool(np.isfinite(r.value)), f"{r.metric} is {r.value}")
            if r.ci_low is not None and r.ci_high is not None:
                require(r.ci_low <= r.value <= r.ci_high, f"{r.metric} is outside its interval")
            if self.cls.compares:
                require(
                    r.ci_low is not None and r.ci_high is not None, f"{r.metric} has no interval: give low and high"
                )
                require(r.floor is not None, f"{r.metric} has no floor: compute it for evaluation.real(n, 1)")
                require(r.n is not None, f"{r.metric} does not say its sample size: give n")
        return ", ".join(r.metric for r in results)

    @needs("results")
    def check_identity(self) -> str:
        """The value of the true distribution is at the floor."""
        for name in self.comparing():
            r = self.truth[name]
            if r.floor is None:
                continue
            off = abs(r.value - r.floor)
            require(
                off <= self.slack(name),
                f"{name} of the true distribution is {r.value:.4g}, but its floor is {r.floor:.4g}",
            )
        return _listing(self.truth[name] for name in self.comparing())

    @needs("results")
    def check_symmetry(self) -> str:
        """A symmetric metric stays the same if the real and the generated distribution are exchanged."""
        if not self.cls.symmetric:
            raise UnsupportedError("the metric does not claim to be symmetric")
        there, back = self.found(shift=2.0), self.found(data_shift=2.0)
        for name in self.comparing():
            off = abs(there[name].value - back[name].value)
            equal = off <= self.slack(name, there, back)
            require(equal, f"{name} is {there[name].value:.4g} one way and {back[name].value:.4g} the other")
        return _listing((there[name] for name in self.comparing()), (back[name] for name in self.comparing()))

    @needs("results")
    def check_equal_sizes(self) -> str:
        """The metric draws as many model points as real points; a smaller set is refused, or changes no value."""
        names, away = (
            self.comparing(),
            Distorted.Config(shift=_SHIFTS[-1]),
        )  # away from the origin, so that padding with zeros shows
        evaluation = self.evaluation(away, data_shift=_SHIFTS[-1])
        real, generated = evaluation.record()
        whole = {r.metric: r for r in self.metric().compute(evaluation)}
        if not generated:
            raise UnsupportedError("the metric does not use samples")
        require(generated <= real, f"the metric drew {sorted(generated)} model points but {sorted(real)} real points")
        short = self.evaluation(away, data_shift=_SHIFTS[-1])
        short.share = 0.5
        try:
            found = {r.metric: r for r in self.metric().compute(short)}
        except TrilemmaError as error:
            return f"half as many generated points are refused: {error}"
        for name in names:
            off = abs(found[name].value - whole[name].value)
            harmless = off <= self.slack(name, whole, found)
            require(harmless, f"half as many generated points are accepted and move {name} by {off:.3g}")
        return "half as many generated points change nothing but the interval"

    @needs("results")
    def check_shift(self) -> str:
        """The metric gets worse as a shift of the distribution grows."""
        founds = [self.truth, *(self.found(shift=shift) for shift in _SHIFTS)]
        grows = []
        for name in self.comparing():
            values = [_badness(found[name]) for found in founds]
            slack = self.slack(name)
            for one, two in pairwise(values):
                require(
                    two >= one - slack,
                    f"{name} gets better with a shift: {_listing(f[name] for f in founds)}; set `better` the other way",
                )
            grows.append(values[-1] > values[0] + slack)
        require(any(grows), f"no result gets worse with a shift of {_SHIFTS[-1]:g}")
        return "; ".join(f"{name} {_listing(f[name] for f in founds)}" for name in self.comparing())

    @needs("results", "shift")
    def check_units(self) -> str:
        """Other units of the data change nothing but a factor or a constant that all values share."""
        shifts = _SHIFTS[1:]
        plain = [self.truth, *(self.found(shift=shift) for shift in shifts)]
        scaled = [self.found(unit=_UNIT), *(self.found(shift=shift, unit=_UNIT) for shift in shifts)]
        for name in self.comparing():
            one, two = (np.array([found[name].value for found in founds]) for founds in (plain, scaled))
            slack = _SLACK * max(_half(found[name]) for found in plain) + _DRIFT * float(np.abs(one).max())
            factor = two[-1] / one[-1] if one[-1] else np.nan
            by_factor = np.abs(two / factor - one) if factor > 0 else np.full_like(one, np.inf)
            by_constant = np.abs(two - one - (two[-1] - one[-1]))
            require(
                bool((by_factor <= slack).all() or (by_constant <= slack).all()),
                f"{name} orders models differently in other units: {_numbers(one)} for shifts of 0, "
                f"{', '.join(f'{shift:g}' for shift in shifts)}, and {_numbers(two)} with all data times {_UNIT:g}; "
                "divide by a scale of the real points, such as their standard deviation",
            )
        return f"a factor or a constant, with all data times {_UNIT:g}"

    @needs("results", "shift")
    def check_panel(self) -> str:
        """No number that ranks models prefers a planted defect to the truth, in 2 and in 16 dimensions."""
        reason = no_panel(self.cls)
        if reason:
            raise UnsupportedError(reason)
        ranked, wrong, refused = [], [], []
        for plan in plans(_PANEL_SPACES):
            points = getattr(self.config, "n", None) or _POINTS
            try:
                names, found = preferences(self.metric(draws=_PANEL_DRAWS), plan, points)
            except UnsupportedError as error:
                refused.append(f"{plan.name}: {error}")
                continue
            ranked += [f"{name} in {plan.name}" for name in names]
            wrong += found
        if len(refused) == len(_PANEL_SPACES):
            raise UnsupportedError(refused[0])
        require(
            not wrong,
            "; ".join(map(str, wrong)) + ". Models must not be ranked by such a number: give its Quantity "
            'ranks=False or better="none", or leave these dimensions out by least_dim or most_dim',
        )
        return ", ".join([*ranked, *refused]) or "no number ranks models in 2 or 16 dimensions"

    @needs("results")
    def check_permutation(self) -> str:
        """The order of the samples does not change the metric."""
        reverse = self.found(reverse=True)
        for name in self.comparing():
            off = abs(reverse[name].value - self.truth[name].value)
            allowed = 1e-6 * max(abs(self.truth[name].value), abs(self.found(shift=_SHIFTS[-1])[name].value))
            require(
                off <= allowed,
                f"{name} is {self.truth[name].value:.6g}, and {reverse[name].value:.6g} with the samples in reverse "
                "order; samples are a set, so use no order",
            )
        return "the same in reverse order"

    @needs("results")
    def check_n_bias(self) -> str:
        """The value of the true distribution at a quarter of the points, for information."""
        names = self.comparing()
        if self.config is not None or "n" not in self.cls.Config.model_fields:
            raise UnsupportedError("the metric has no option `n`, or its options were given")
        small = self.found(points=_POINTS // 4)
        pairs = ((name, small[name], self.truth[name]) for name in names)
        return "; ".join(
            f"{name} {few.value:.4g} at n = {few.n}, {all_.value:.4g} at {all_.n}" for name, few, all_ in pairs
        )


def _loaded(dataset: Dataset) -> Dataset:
    return type(dataset)(dataset.config)


def _repeatable(result: Result) -> tuple[str, float]:
    """What is the same each time: the name, and the value unless it is a time or another measure of the machine."""
    return result.metric, 0.0 if result.unit in _OF_THE_MACHINE else result.value


def _numbers(values: NDArray[np.float64]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)


def _half(result: Result) -> float:
    if result.ci_low is None or result.ci_high is None:
        return 0.0
    return (result.ci_high - result.ci_low) / 2


def _badness(result: Result) -> float:
    return -result.value if result.better == "higher" else result.value


def _listing(*groups: Iterable[Result]) -> str:
    return " | ".join(", ".join(f"{r.value:.4g}" for r in group) for group in groups)
