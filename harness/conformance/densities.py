"""The checks of the densities of a model."""

from __future__ import annotations

import math
from functools import cached_property

import torch
from torch import Tensor

from ..contracts.model import Model, known_levels
from ..errors import UnsupportedError
from .grid import Grid
from .kit import needs, no_global_randomness, require
from .mass import WeighedMass, weighed_mass
from .subject import Subject

_WRITES = "log_prob writes into the points that it gets; work on a copy"
_SCORE_LEVELS = (0.04, 30.0)  # noise levels at which a score is asked for, or the nearest known ones
_SCORE_OFF = {10.0: 0.4, 3.0: 0.8}  # relative errors of a score from these noise levels on, after few steps of training
_HALF_SIDE = 8.0  # of the grid, in standard deviations of the data
_PER_SIDE = 200
_TOLERANCE = {"exact": 0.02, "ode": 0.03}  # of a mass, of an ode besides chance
_ERRORS = 4.0  # standard errors of a mass that are no chance
_MOST_CHANCE = 0.25  # of a mass, that its standard error excuses: weights of a density that is no density vary much
_FEW_WEIGHED, _MANY_WEIGHED = 3000, 12_000  # points of a mass; many if few may be off by chance
_MOST_NATS = 5.0  # off, above which a mass is shown by its logarithm


class DensityChecks(Subject):
    """The checks of `log_prob` and `score`."""

    @needs("fit")
    def check_log_prob(self) -> str:
        """log_prob gives one number per point, neither NaN nor +inf, or UnsupportedError without a likelihood.

        It leaves its points as they are, and an exact density is the same under all generators.
        """
        x, n = self.some, len(self.some)
        if self.cls.likelihood == "none":
            try:
                self.model.log_prob(x, self.context())
            except UnsupportedError:
                return "no likelihood, and log_prob raises UnsupportedError"
            require(False, "likelihood is 'none', but log_prob returns a value; set `likelihood` to its kind")
        before = x.clone()
        values, other = self.raw_densities
        with no_global_randomness("log_prob"), self.watch("log_prob"):
            again = self.model.log_prob(x, self.context()).detach()
        require(torch.equal(x, before), _WRITES)
        if not self.images:  # which have no values far away
            with self.watch("log_prob"):
                self.model.log_prob(far := 5 * x, self.context())
            require(torch.equal(far, 5 * x), _WRITES)
        require(tuple(values.shape) == (n,), f"log_prob has shape {tuple(values.shape)}, expected {(n,)}")
        require(values.dtype.is_floating_point, f"log_prob is {values.dtype}, not a floating type")
        require(values.layout == torch.strided, f"log_prob is {values.layout}; return a dense tensor")
        require(not bool(values.isnan().any() | (values == torch.inf).any()), "log_prob of data is NaN or +inf")
        require(
            torch.equal(values, again), "log_prob differs between two generators of the same seed; keep no state in it"
        )
        require(
            self.cls.likelihood != "exact" or torch.equal(values, other),
            "likelihood is 'exact', but log_prob depends on ctx.generator: a density that is estimated from draws is "
            "an 'estimate' or a 'bound'",
        )
        return str(self.cls.likelihood)

    @cached_property
    def random(self) -> bool:
        """Whether log_prob depends on the generator."""
        return not torch.equal(*self.raw_densities)

    def require_density(self) -> None:
        """Raise UnsupportedError for a likelihood that need not integrate to 1, or whose integral cannot be seen."""
        kind = str(self.cls.likelihood)
        if kind not in _TOLERANCE:
            raise UnsupportedError(f"a likelihood of the kind '{kind}' need not integrate to 1")
        if self.prepared.info.shape != (2,):
            raise UnsupportedError("the data of the check is not in two dimensions")
        if self.random:
            raise UnsupportedError("the density is estimated with random numbers")

    @cached_property
    def grid(self) -> Grid:
        """The density on a grid. Raises UnsupportedError where a grid tells nothing."""
        self.require_density()
        side = torch.full((2,), _HALF_SIDE, dtype=torch.float64)
        return Grid.of(lambda x: self.log_prob(x.float()), -side, side, _PER_SIDE)

    @needs("log-prob")
    def check_mass(self) -> str:
        """A density integrates to 1: of the kind exact over a grid, and of the kind ode by importance sampling."""
        self.require_density()
        if self.cls.likelihood == "ode":
            return self._check_weighed_mass()
        mass, wild = self.grid.mass, self.grid.where_wild
        off = math.log(mass) if mass > 0 else -math.inf
        require(
            abs(mass - 1) <= _TOLERANCE["exact"],
            f"the density integrates to {mass:.4f} over [-8, 8] x [-8, 8] in model space; "
            + (f"{wild}; " if wild else "")
            + f"check its normalization and the log-determinants: log_prob is {off:+.2f} nats off",
        )
        return f"{mass:.4f}" + (f"; {wild}, so points there would diverge" if wild else "")

    def _check_weighed_mass(self) -> str:
        """The flow of an ODE that has hardly been trained has peaks that fall between the points of a grid."""
        drawn = self.outcomes.get("samplers", ("passed",))[0] == "passed"
        centers = self.many if drawn else self.points("train")
        found = self._weighed(centers, _FEW_WEIGHED)
        chance = _TOLERANCE["ode"] + _ERRORS * found.error
        if _TOLERANCE["ode"] + _MOST_CHANCE < abs(found.mass - 1) <= chance:  # more points tell it from chance
            found = self._weighed(centers, _MANY_WEIGHED)
        remedy = f"check its normalization and the log-determinants: log_prob is {found.log:+.2f} nats off"
        require(found.log < _MOST_NATS, f"the density integrates to exp({found.log:.1f}) in model space; {remedy}")
        require(
            abs(found.mass - 1) <= _TOLERANCE["ode"] + min(_ERRORS * found.error, _MOST_CHANCE),
            f"the density integrates to {found.mass:.3f} (standard error {found.error:.3f}) in model space; {remedy}",
        )
        return f"{found.mass:.3f} ± {found.error:.3f}"

    def _weighed(self, centers: Tensor, n: int) -> WeighedMass:
        found = weighed_mass(lambda x: self.log_prob(x.float()), centers, n)
        where = ", ".join(f"{value:.2f}" for value in found.infinite[0]) if len(found.infinite) else ""
        require(
            not where,
            f"log_prob is +inf at {len(found.infinite)} points near the samples or within about 10 standard deviations "
            f"of the data, such as ({where}) in model space; a density that integrates to 1 is finite there",
        )
        return found

    @needs("log-prob", "mass", "samplers", "sample-deterministic", "sample-size")
    def check_samples_density(self) -> str:
        """The samples are drawn from the exact density: two tests of samples against log_prob."""
        if self.cls.likelihood != "exact":
            raise UnsupportedError("the density is not exact, and the samplers need not draw from it")
        grid, sampler = self.grid, self.cls.samplers[0]()
        x = self.many if self.quick == sampler else self.draw(self.model, self.size, 6, sampler)
        wrong = grid.disagreement(x, self.log_prob(x))
        require(
            not wrong,
            f"{wrong}. sample and log_prob are of different distributions: draw without a temperature, and call a "
            "density that is not the one of the samples an 'estimate'",
        )
        return f"{len(x)} samples agree with log_prob"

    @needs("log-prob")
    def check_rows(self) -> str:
        """The log-density of a point does not depend on the points beside it."""
        if self.cls.likelihood == "none":
            raise UnsupportedError("no likelihood")
        if self.random:
            raise UnsupportedError("the density is estimated with random numbers, which differ with the batch")
        x = self.points("test")[:40]
        together, apart = self.log_prob(x), self.log_prob(x[:3])
        mixed = self.log_prob(torch.cat([x[:3], 3 + 2 * x[3:]]))[:3]
        off = float(torch.maximum((together[:3] - apart).abs(), (together[:3] - mixed).abs()).max())
        size = float(together[:3].abs().max())
        allowed = (1e-3 if self.cls.likelihood == "exact" else 1e-2) * max(1.0, size)
        require(
            off <= allowed,
            f"log_prob of a point changes by {off:.3g} nats with the other points of its batch; use no statistics of "
            "the batch (call .eval() on networks with batch normalization)",
        )
        return f"changes by {off:.1g} at most"

    @needs("fit")
    def check_score(self) -> str:
        """The score has the shape of the points, and at a high noise level it is near -x / (1 + sigma^2).

        It is asked for at a low and at a high one of its `score_levels`. A score of one level is asked for there alone,
        and other levels raise UnsupportedError.
        """
        if self.cls.score is Model.score:
            raise UnsupportedError("the model has no score")
        low, high = known_levels(self.model)
        said = ""
        for level in dict.fromkeys(min(max(asked, low), high) for asked in _SCORE_LEVELS):
            off = self._score_off(level)
            allowed = next((share for least, share in _SCORE_OFF.items() if level >= least), math.inf)
            at = f"at noise level {level:g}"
            require(off < allowed, f"{at} the score differs by {off:.0%} from -x / (1 + sigma^2)")
            if allowed < math.inf:
                said = f"relative error {off:.1%} {at}"
        if low == high:
            try:
                self._score_off(2 * low + 1)
            except UnsupportedError:
                return f"at noise level {low:g} alone"
            require(False, f"score_levels has {low:g} alone, but score returns a value at another level")
        return said or f"finite at noise levels {low:g} to {high:g}"

    def _score_off(self, level: float) -> float:
        """How far the score of points at a noise level is from -x / (1 + sigma^2), relative to it."""
        sigma = torch.tensor(level)
        shape = (200, *self.prepared.info.shape)
        x = (1 + sigma**2).sqrt() * torch.randn(shape, generator=torch.Generator().manual_seed(4))
        low, high = known_levels(self.model)
        try:
            with no_global_randomness("score"), self.watch("score"):
                found = self.model.score(x, sigma, self.context()).detach()
        except UnsupportedError as error:
            require(not low <= level <= high, f"score_levels has {low:g} to {high:g}, but at {level:g}: {error}")
            raise
        require(found.shape == x.shape, f"score has shape {tuple(found.shape)}, expected {tuple(x.shape)}")
        require(bool(torch.isfinite(found).all()), f"the score is not finite at noise level {level:g}")
        return _relative(found + x / (1 + sigma**2), x / (1 + sigma**2))


def _relative(off: Tensor, value: Tensor) -> float:
    return float(off.norm() / value.norm())
