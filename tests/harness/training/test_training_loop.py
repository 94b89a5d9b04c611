"""The training loop: it learns, repeats bit for bit, keeps the best weights, and notices divergence."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from trilemma import Budget, Clock, Context, DataInfo, DivergedError, NeuralModel, Recipe, Split, Update
from trilemma.harness.training.minibatches import Shuffled
from trilemma.harness.training.weights import learning_rate


class Line(NeuralModel):
    """Regresses the second coordinate on the first: a loss with a known optimum."""

    name = "line"
    poison_at: int | None = None
    dropout = 0.0

    def build(self, info: DataInfo) -> None:
        self.net = nn.Sequential(nn.Linear(1, 1), nn.Dropout(self.dropout))
        self.calls = 0

    def loss(self, x: Tensor, ctx: Context) -> Tensor:
        return (self.net(x[:, :1]) - x[:, 1:]).square().mean()

    def training_step(self, x: Tensor, ctx: Context, update: Update) -> dict[str, Tensor]:
        self.calls += 1
        if self.calls == self.poison_at:
            x = x * math.nan
        return super().training_step(x, ctx, update)

    def sample(self, n: int, ctx: Context) -> Tensor:
        return torch.zeros(n, 2)


def train(model: NeuralModel, *, steps: int = 300, seed: int = 0, **recipe: Any) -> Context:
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(2_000, 1, generator=generator)
    data = torch.cat([x, 3 * x - 1], 1)
    ctx = Context(
        info=DataInfo(name="line", kind="vector", shape=(2,), n_train=1500),
        device=torch.device("cpu"),
        generator=torch.Generator().manual_seed(seed),
        recipe=Recipe(**{"lr": 0.05, **recipe}),
        valid=Split(data[1500:]),
        clock=Clock(Budget(steps=steps)),
    )
    model.fit(Split(data[:1500]), ctx)
    return ctx


@pytest.mark.parametrize("schedule", ["cosine", "onecycle", "constant"])
@pytest.mark.parametrize("ema", [None, 0.9])
@pytest.mark.parametrize("keep", ["best", "last"])
def test_training_finds_the_optimum(schedule: str, ema: float | None, keep: str) -> None:
    model = Line()
    train(model, schedule=schedule, ema=ema, keep=keep)
    assert model.net[0].weight.item() == pytest.approx(3, abs=0.02)
    assert model.net[0].bias.item() == pytest.approx(-1, abs=0.02)
    assert not model.training


class TwoRates(Line):
    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        return {"slope": [self.net[0].weight], "shift": [self.net[0].bias]}

    def training_step(self, x: Tensor, ctx: Context, update: Update) -> dict[str, Tensor]:
        for group in ("slope", "shift"):
            loss = self.loss(x, ctx)
            update(loss, group)
        return {"loss": loss.detach()}


def test_parameter_groups_may_have_rates_of_their_own() -> None:
    model = TwoRates()
    train(model, steps=1, schedule="constant", warmup=0, ema=None, keep="last")
    start = {name: value.clone() for name, value in model.state_dict().items()}
    other = TwoRates()
    train(other, steps=1, schedule="constant", warmup=0, ema=None, keep="last", lr_factors={"shift": 0.0})
    assert torch.equal(other.net[0].weight, start["net.0.weight"])
    assert not torch.equal(other.net[0].bias, start["net.0.bias"])
    with pytest.raises(
        ValueError, match="lr_factors of the recipe names slop, but the parameter groups are slope, shift"
    ):
        train(TwoRates(), steps=1, lr_factors={"slop": 0.5})


def test_the_start_may_depend_on_the_training_split() -> None:
    class Started(Line):
        def initialize(self, train: Split, ctx: Context) -> None:
            with torch.no_grad():
                self.net[0].bias.fill_(float(len(train)))

    model = Started()
    train(model, steps=1, lr=1e-9, ema=None, keep="last", validations=0)
    assert model.net[0].bias.item() == pytest.approx(1500)


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not() -> None:
    def weights(seed: int) -> Tensor:
        model = Line()
        model.dropout = 0.3
        train(model, steps=50, seed=seed)
        return torch.cat([p.detach().flatten() for p in model.parameters()])

    before = torch.get_rng_state()
    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))
    assert torch.equal(torch.get_rng_state(), before), "training left its mark on the global generator"


def test_curves_are_stored() -> None:
    ctx = train(Line(), steps=100, validations=10)
    assert ctx.curves["step"][-1] == 100
    assert len(ctx.curves["loss"]) == len(ctx.curves["step"])
    assert 10 <= len(ctx.curves["validation"]) == len(ctx.curves["validation_step"]) <= 12
    assert ctx.curves["validation"][-1] < ctx.curves["validation"][0]


def test_a_loss_that_is_not_finite_is_a_divergence() -> None:
    model = Line()
    model.poison_at = 40
    with pytest.raises(DivergedError, match="loss is not finite"):
        train(model)


def test_the_best_weights_are_kept() -> None:
    class Worsens(Line):
        """The validation loss falls, then rises."""

        def validation_loss(self, x: Tensor, ctx: Context) -> Tensor:
            values = [5.0, 1.0, 4.0]
            self.seen = getattr(self, "seen", -1) + 1
            if self.seen == 1:
                self.best = self.net[0].weight.detach().clone()
            return torch.tensor(values[min(self.seen, 2)])

    model = Worsens()
    train(model, steps=60, validations=6)
    assert torch.equal(model.net[0].weight, model.best)


def test_each_parameter_group_has_an_optimizer_of_its_own() -> None:
    class Players(Line):
        """Two networks, each updated by its own loss."""

        def build(self, info: DataInfo) -> None:
            self.net = nn.Sequential(nn.Linear(1, 1))
            self.other = nn.Linear(1, 1)

        def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
            return {"net": list(self.net.parameters()), "other": list(self.other.parameters())}

        def training_step(self, x: Tensor, ctx: Context, update: Update) -> dict[str, Tensor]:
            loss = self.loss(x, ctx)
            other = (self.other(x[:, :1]) + self.net(x[:, :1])).square().mean()
            update(other, "other")
            update(loss, "net")
            return {"loss": loss.detach(), "other": other.detach()}

    model = Players()
    ctx = train(model, steps=400)
    assert model.net[0].weight.item() == pytest.approx(3, abs=0.05)
    assert model.other.weight.item() == pytest.approx(-3, abs=0.1)
    assert len(ctx.curves["other"]) == len(ctx.curves["loss"])


def test_the_learning_rate_starts_low_peaks_at_lr_and_ends_near_zero() -> None:
    for schedule in ("cosine", "onecycle"):
        recipe = Recipe(lr=0.1, schedule=schedule, warmup=10)
        rates = [learning_rate(recipe, step, step / 1000) for step in range(1000)]
        assert rates[0] < 0.011
        assert max(rates) == pytest.approx(0.1, rel=0.01)
        assert rates[-1] < 1e-5


def test_batches_visit_every_point_once_in_a_pass() -> None:
    order = Shuffled(10, 5, torch.Generator().manual_seed(0))
    for _ in range(3):
        assert sorted(torch.cat([next(order), next(order)]).tolist()) == list(range(10))
    assert len(next(Shuffled(3, 100, torch.Generator()))) == 3
