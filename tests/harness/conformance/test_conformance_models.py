"""The conformance kit: what is right passes, and each kind of mistake fails the check that is there for it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest import SkipTest

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from pydantic import Field
from torch import Tensor, nn

import trilemma
from trilemma.harness.cli import main
from trilemma.harness.conformance.distributions import ThreeGaussians
from trilemma.harness.plugins import Registry

Status = dict[str, str]


def statuses(cls: type[Any], config: trilemma.Config | None = None, **options: Any) -> Status:
    """Check -> status."""
    return {check.name: check.run().status for check in trilemma.conformance_checks(cls, config, **options)}


def messages(cls: type[Any], name: str) -> str:
    return next(check for check in trilemma.conformance_checks(cls) if check.name == name).run().message


def failed(cls: type[Any], config: trilemma.Config | None = None) -> set[str]:
    return {name for name, status in statuses(cls, config).items() if status == "failed"}


class Gauss(trilemma.Model):
    """One Gaussian with a diagonal covariance."""

    name = "diagonal"
    likelihood = "exact"

    def fit(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        self.mean, self.scale = train.x.mean(0), train.x.std(0)

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        return self.mean + self.scale * torch.randn((n, *ctx.info.shape), generator=ctx.generator)

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        return torch.distributions.Normal(self.mean, self.scale).log_prob(x).sum(1)

    def state(self) -> dict[str, Tensor]:
        return {"mean": self.mean, "scale": self.scale}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.mean, self.scale = state["mean"], state["scale"]


class GlobalNoise(Gauss):
    """It draws by the global generator."""

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        return self.mean + self.scale * torch.randn((n, *ctx.info.shape))


class NumpyNoise(Gauss):
    """Its fit draws by NumPy's global generator."""

    def fit(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        np.random.rand()
        super().fit(train, ctx)


class Frozen(Gauss):
    """It draws the same points each time."""

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        return self.mean.expand(n, 2)


class WrongShape(Gauss):
    """It flattens its samples."""

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        return super().sample(n, ctx).flatten()


class UnlistedSampler(Gauss):
    """It always draws by a sampler that it does not list."""

    class Other(trilemma.Sampler):
        name = "other"

    always_samplers = (Other(),)


class Levels(Gauss):
    """It draws whole numbers."""

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        return super().sample(n, ctx).long()


class TwiceTheMass(Gauss):
    """Its density integrates to 2."""

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        return super().log_prob(x, ctx) + np.log(2)


class TheSameMass(TwiceTheMass):
    """Its density integrates to 2, and it says so."""

    expected_failures = {"mass": "for the sake of it"}


class NotANumber(Gauss):
    """Its density is NaN."""

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        return super().log_prob(x, ctx) * torch.nan


class OneColumn(Gauss):
    """It keeps a dimension that should be gone."""

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        return super().log_prob(x, ctx)[:, None]


class Liar(Gauss):
    """It has a density and denies it."""

    likelihood = "none"


class Forgetful(Gauss):
    """It restores half of its state."""

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.mean, self.scale = state["mean"], 2 * state["scale"]


class Undocumented(Gauss):
    """An option without a description."""

    class Config(trilemma.Config):
        width: int = 3


class BadScore(Gauss):
    """The score of the wrong sign."""

    def score(self, x: Tensor, sigma: Tensor, ctx: trilemma.Context) -> Tensor:
        return x / (1 + sigma**2)


class Net(trilemma.NeuralModel):
    """A linear map of noise, trained to have the scale of the data."""

    name = "net"

    def build(self, info: trilemma.DataInfo) -> None:
        self.net = nn.Linear(info.dim, info.dim)

    def loss(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        z = torch.randn(x.shape, generator=ctx.generator)
        return (self.net(z).std(0) - x.std(0)).square().mean()

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        return self.net(torch.randn((n, *ctx.info.shape), generator=ctx.generator))


class Counting(Net):
    """A loss that remembers how often it was called."""

    calls = 0

    def loss(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        self.calls += 1
        return super().loss(x, ctx) * self.calls


class Detached(Net):
    """A loss without a gradient."""

    def training_loss(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        return super().loss(x, ctx)

    def fit(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.build(ctx.info)

    def loss(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        return super().loss(x, ctx).detach()


@pytest.mark.parametrize("check", trilemma.conformance_checks(Gauss), ids=str)
def test_a_right_model_passes(check: trilemma.Check) -> None:
    check()


def test_what_does_not_apply_is_skipped() -> None:
    found = statuses(Net)
    assert {name for name, status in found.items() if status == "skipped"} == {"mass", "score"}
    assert {name for name, status in found.items() if status == "failed"} == set()


@pytest.mark.parametrize(
    ("cls", "checks"),
    [
        (GlobalNoise, {"fit-deterministic", "sample-deterministic", "state"}),
        (NumpyNoise, set(statuses(Gauss)) - {"documented", "score", "loss"}),
        (Frozen, {"sample-deterministic"}),
        (WrongShape, {"samplers"}),
        (Levels, {"samplers"}),
        (UnlistedSampler, {"samplers"}),
        (TwiceTheMass, {"mass"}),
        (NotANumber, {"log-prob", "mass", "state"}),
        (OneColumn, {"log-prob"}),
        (Liar, {"log-prob"}),
        (Forgetful, {"state"}),
        (Undocumented, {"documented"}),
        (BadScore, {"score"}),
        (Counting, {"loss"}),
        (Detached, {"loss"}),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_each_mistake_of_a_model_fails_its_check(cls: type[trilemma.Model], checks: set[str]) -> None:
    assert failed(cls) == checks


def test_messages_name_what_is_wrong() -> None:
    assert "global generator of torch" in messages(GlobalNoise, "sample-deterministic")
    assert "NumPy" not in messages(NumpyNoise, "fit")
    assert "global generator of numpy" in messages(NumpyNoise, "fit")
    assert "integrates to 2.0" in messages(TwiceTheMass, "mass")
    assert "'width'" in messages(Undocumented, "documented")


def test_expected_failures_are_strict() -> None:
    assert statuses(TheSameMass)["mass"] == "expected"
    expected = {"mass": "known"}
    assert statuses(TwiceTheMass, expected_failures=expected)["mass"] == "expected"
    (check,) = [c for c in trilemma.conformance_checks(TwiceTheMass, expected_failures=expected) if c.name == "mass"]
    with pytest.raises(SkipTest, match="known"):
        check()
    (check,) = [c for c in trilemma.conformance_checks(Gauss, expected_failures=expected) if c.name == "mass"]
    assert check.run().status == "failed"
    with pytest.raises(AssertionError, match="expected to fail"):
        check()
    with pytest.raises(trilemma.PluginError, match="did you mean 'mass'"):
        trilemma.conformance_checks(Gauss, expected_failures={"mas": "misspelt"})
    with pytest.raises(trilemma.PluginError, match="no subclass"):
        trilemma.conformance_checks(int)


# Datasets


class Leaky(ThreeGaussians):
    """Test points that are also training points."""

    def load(self) -> trilemma.Splits:
        splits = super().load()
        return trilemma.Splits(splits.train, splits.valid, splits.train[:100].clone())


class Restless(ThreeGaussians):
    """Other points each time."""

    def load(self) -> trilemma.Splits:
        splits = super().load()
        return trilemma.Splits(splits.train + torch.rand(2), splits.valid, splits.test)


class WrongEntropy(ThreeGaussians):
    """An entropy that is a quarter of a nat off."""

    @property
    def entropy(self) -> float:
        return super().entropy + 0.25


class WrongModes(ThreeGaussians):
    """Modes whose weights are those of another distribution."""

    def modes(self) -> trilemma.Modes:
        modes = super().modes()
        return trilemma.Modes(modes.centers, torch.ones(3) / 3, modes.covariances)


class GlobalDistribution(ThreeGaussians):
    """A distribution that draws by the global generator."""

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        return torch.randn(n, 2)


class NoLicense(ThreeGaussians):
    """A card without a license."""

    license = ""


class Doubles(ThreeGaussians):
    """Points in double precision."""

    def load(self) -> trilemma.Splits:
        splits = super().load()
        return trilemma.Splits(splits.train.double(), splits.valid.double(), splits.test.double())


def test_a_right_dataset_passes() -> None:
    assert set(statuses(ThreeGaussians).values()) == {"passed"}


@pytest.mark.parametrize(
    ("cls", "checks"),
    [
        (Leaky, {"disjoint"}),
        (Restless, {"deterministic"}),
        (WrongEntropy, {"entropy"}),
        (WrongModes, {"modes"}),
        (NoLicense, {"card"}),
        (Doubles, {"splits"}),
    ],
)
def test_each_mistake_of_a_dataset_fails_its_check(cls: type[trilemma.Dataset], checks: set[str]) -> None:
    assert failed(cls) == checks


def test_a_distribution_of_the_global_generator_fails() -> None:
    assert {"distribution", "deterministic"} <= failed(GlobalDistribution)


def test_data_that_is_not_there_is_skipped() -> None:
    found = CliRunner().invoke(main, ["check", "file", "--json"])
    records = {record["check"]: record for record in json.loads(found.stdout)}
    assert found.exit_code == 0
    assert records["card"]["status"] == "skipped"
    assert "not available" in records["card"]["message"]


# Metrics


class MeanDistance(trilemma.Metric):
    """Distance of the means, whose square is unbiased."""

    name = "mean-distance"
    symmetric = True

    class Config(trilemma.Config):
        """Sizes."""

        n: int = Field(500, ge=2, description="points")
        draws: int = Field(6, ge=2, description="sample sets")

    def compute(self, evaluation: trilemma.Evaluation) -> list[trilemma.Result]:
        n, draws = self.config.n, self.config.draws
        values = [self.value(evaluation.real(n, k), evaluation.generate(n, k)) for k in range(draws)]
        floors = [self.value(evaluation.real(n, k), evaluation.real(n, k + 1)) for k in range(draws)]
        value, low, high = trilemma.mean_interval(values)
        floor = trilemma.mean_interval(floors)[0]
        return [trilemma.Result(metric=self.name, value=value, ci_low=low, ci_high=high, floor=floor, n=n)]

    def value(self, real: np.ndarray, generated: np.ndarray) -> float:
        if len(real) != len(generated):
            raise trilemma.DataError("unequal sizes")
        return float(np.linalg.norm(real.mean(0) - generated.mean(0)))


class FirstPoint(MeanDistance):
    """It looks at the first point alone."""

    def value(self, real: np.ndarray, generated: np.ndarray) -> float:
        return super().value(real, generated) + float(np.tanh(generated[0]).sum())


class Padded(MeanDistance):
    """It pads the smaller set with zeros."""

    def value(self, real: np.ndarray, generated: np.ndarray) -> float:
        padding = np.zeros((len(real) - len(generated), 2))
        return super().value(real, np.concatenate([generated, padding]))


class OneWay(MeanDistance):
    """It claims a symmetry that it does not have."""

    def value(self, real: np.ndarray, generated: np.ndarray) -> float:
        return super().value(real, generated) * (1 + 9 * float(real[:, 1].mean() > generated[:, 1].mean()))


class Spread(MeanDistance):
    """It prefers distributions that are narrow."""

    def value(self, real: np.ndarray, generated: np.ndarray) -> float:
        return super().value(real, generated) + float(generated.std())


class Bare(MeanDistance):
    """It has no interval and no floor."""

    def compute(self, evaluation: trilemma.Evaluation) -> list[trilemma.Result]:
        (result,) = super().compute(evaluation)
        return [result.model_copy(update={"ci_low": None, "ci_high": None, "floor": None})]


class Unequal(MeanDistance):
    """It asks the model for fewer points than the data."""

    def compute(self, evaluation: trilemma.Evaluation) -> list[trilemma.Result]:
        class Thinned:
            def real(self, n: int, draw: int) -> np.ndarray:
                return evaluation.real(n, draw)

            def generate(self, n: int, draw: int) -> np.ndarray:
                return np.repeat(evaluation.generate(n // 2, draw), 2, axis=0)

        return super().compute(Thinned())  # type: ignore[arg-type]


def test_a_metric_that_is_blind_to_the_width_fails_there_alone() -> None:
    assert failed(MeanDistance) == {"shrinkage"}, "all that a distance of means cannot see"


@pytest.mark.parametrize(
    ("cls", "check"),
    [
        (FirstPoint, "permutation"),
        (Padded, "equal-sizes"),
        (OneWay, "symmetry"),
        (Spread, "shrinkage"),
        (Bare, "results"),
        (Unequal, "equal-sizes"),
    ],
)
def test_each_mistake_of_a_metric_fails_its_check(cls: type[trilemma.Metric], check: str) -> None:
    assert check in failed(cls)


# The command


def test_the_command_checks_models_datasets_and_metrics() -> None:
    found = CliRunner().invoke(main, ["check", "gaussian", "ring8", "mmd"])
    assert found.exit_code == 0, found.output
    for text in ("model gaussian", "dataset ring8", "metric mmd", "passed   mass", "passed   entropy", "n = 100"):
        assert text in found.stdout
    assert "failed" not in found.output


def test_a_plugin_file_that_fails_gives_exit_code_1(tmp_path: Path) -> None:
    file = tmp_path / "bad.py"
    file.write_text(
        "import torch, trilemma\n"
        "class Bad(trilemma.Model):\n"
        "    name = 'bad'\n"
        "    def fit(self, train, ctx): pass\n"
        "    def sample(self, n, ctx): return torch.randn(n, 2)\n"
        "@trilemma.hookimpl\n"
        "def trilemma_models(): return [Bad]\n"
    )
    found = CliRunner().invoke(main, ["check", "bad", "--plugin", str(file), "--json"])
    assert found.exit_code == 1
    records = {record["check"]: record for record in json.loads(found.stdout)}
    assert records["documented"]["status"] == "failed"
    assert records["samplers"]["status"] == "passed"
    assert records["sample-deterministic"]["message"].endswith("use the generator handed in")
    plain = CliRunner().invoke(main, ["check", "bad", "--plugin", str(file)])
    assert "has no docstring" in plain.stdout


def test_options_of_the_plugin_can_be_set() -> None:
    found = CliRunner().invoke(main, ["check", "ring8", "--set", "modes=3", "--set", "n_test=500"])
    assert found.exit_code == 0, found.output
    assert "3 modes" in found.stdout
    wrong = CliRunner().invoke(main, ["check", "ring8", "--set", "mode=3"])
    assert wrong.exit_code == 2
    assert "mode" in wrong.output
    assert CliRunner().invoke(main, ["check", "ring8", "--set", "modes"]).exit_code == 2


def test_an_unknown_name_is_suggested() -> None:
    found = CliRunner().invoke(main, ["check", "rign8"])
    assert found.exit_code == 2
    assert "did you mean 'ring8'?" in found.output


# What ships


def shipped() -> list[Any]:
    """The checks of every built-in plugin that the fast tests do not run already."""
    registry = Registry(builtin_only=True)
    return [
        pytest.param(cls, id=f"{kind[:-1]}-{name}")
        for kind in ("models", "datasets", "metrics")
        for name, cls in registry.classes(kind).items()
    ]


@pytest.mark.slow
@pytest.mark.parametrize("cls", shipped())
def test_what_ships_conforms(cls: type[Any]) -> None:
    wrong = [check.run() for check in trilemma.conformance_checks(cls)]
    assert [result for result in wrong if result.status == "failed"] == []
