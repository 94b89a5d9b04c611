"""The conditions of a likelihood in words, its base measure, and the checks that it is a density."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import trilemma
from trilemma.plugins.diffusion.likelihood import OdeLikelihood
from trilemma.plugins.metrics.likelihood.conditions import base, conditions
from trilemma.plugins.metrics.likelihood.density_checks import BATCH, CHANGES, CONSTANT, density_marks, differs
from trilemma.plugins.metrics.likelihood.nll import Nll, exceeds, gap_marks
from trilemma.plugins.vae.vae import Vae


def test_conditions_name_solver_steps_estimator_samples_and_dequantization() -> None:
    options = OdeLikelihood(steps=18, divergence="hutchinson", probes=2).model_dump()
    details = options | {"solver": "rk4", "eps": 0.002}
    told = conditions(options, details, dequantized=False)
    assert told == "rk4, 18 steps, Hutchinson's estimate of the divergence, 2 probes, from noise level 0.002"
    told = conditions(options, details | {"divergence": "exact"}, dequantized=False)
    assert "exact divergence" in told
    assert "probes" not in told
    options = Vae.Likelihood(samples=16).model_dump()
    told = conditions(options, options | {"importance_samples": 16}, dequantized=True)
    assert told == "K = 16, uniform dequantization"
    assert conditions({}, {"terms": {"prior": 1.0}}, dequantized=False) == ""


def test_options_of_other_likelihoods_are_told_by_their_names() -> None:
    options = {"half_side": 6.0, "use_grid": False, "order": "auto", "draws": 1}
    assert conditions(options, options, dequantized=False) == "1 draw, half side 6"


def test_the_base_measure_is_that_of_the_data_unless_the_model_says_otherwise() -> None:
    assert base({}, image=False) == "continuous"
    assert base({}, image=True) == "dequantized"
    assert base({"base": "discrete"}, image=True) == "discrete"
    with pytest.raises(trilemma.PluginError, match="base 'counting'"):
        base({"base": "counting"}, image=True)


def test_results_hold_base_and_conditions(known: Any) -> None:
    for result in Nll().compute(known.evaluate(known.Gauss(), known.Normal())):
        assert result.details["base"] == "continuous"
        assert result.details["conditions"] == "closed form"
        assert result.marks == ()
    for result in Nll().compute(known.evaluate(known.Gauss(), known.Levels())):
        assert result.details["base"] == "dequantized"
        assert result.details["conditions"] == "closed form, uniform dequantization"
        assert result.metric != "mass"


def test_a_log_density_that_is_none_is_marked(known: Any) -> None:
    class Odd(known.Gauss):
        """A log-density with one of several faults."""

        fault: Any = None

        def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
            return self.fault(super().log_prob(x, ctx), x, ctx)

    class OddOde(Odd):
        """The same of the kind `ode`."""

        likelihood = "ode"

    def noisy(value: Tensor, x: Tensor, ctx: trilemma.Context) -> Tensor:
        return value + 0.1 * torch.randn(value.shape, generator=ctx.generator)

    def told(value: Tensor, x: Tensor, ctx: trilemma.Context) -> Tensor:
        ctx.details["divergence"] = "hutchinson"
        return noisy(value, x, ctx)

    faults: list[tuple[Any, tuple[str, ...], tuple[str, ...]]] = [
        (lambda value, x, ctx: value, (), ()),
        (lambda value, x, ctx: torch.full_like(value, -2.0), (CONSTANT,), (CONSTANT,)),
        (lambda value, x, ctx: torch.where(x[:, 0].abs() < 8, -2.0, -torch.inf), (), ()),
        (noisy, (CHANGES,), (CHANGES,)),
        (told, (CHANGES,), ()),
        (lambda value, x, ctx: value - x.std(), (BATCH,), (BATCH,)),
    ]
    for fault, exact, ode in faults:
        for cls, expected in ((Odd, exact), (OddOde, ode)):
            model = cls()
            model.fault = fault
            assert density_marks(known.evaluate(model, known.Normal())) == expected


def test_single_precision_and_single_points_are_no_difference() -> None:
    values = np.linspace(-3000, 0, 100)
    assert not differs(values, values * (1 + 1e-6) + 1e-5)
    assert not differs(np.append(values, -np.inf), np.append(values, -np.inf))
    assert not differs(values, np.append(values[:-2], [7.0, 9.0]))
    assert differs(values, values + 0.5)


def test_an_nll_below_the_entropy_beyond_its_interval_is_marked() -> None:
    assert gap_marks((-0.1, -0.15, -0.05)) == ("NLL below the entropy",)
    assert gap_marks((-0.1, -0.25, 0.05)) == ()
    assert gap_marks((-5e-5, -6e-5, -4e-5)) == (), "single precision"
    assert gap_marks((math.inf, None, None)) == ()


def test_overfitting_is_noted_and_memorizing_is_marked() -> None:
    assert exceeds((1.2, 1.0, 1.4), 0.5 * 2)
    assert not exceeds((1.2, -0.1, 2.5), 0.5 * 2)
    assert not exceeds((0.9, 0.8, 1.0), 0.5 * 2)
