"""The game that all adversarial models train by: losses, gradient penalties, the steps of the two players."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import trilemma
from trilemma.harness.evaluation.flops import training_step_flops
from trilemma.plugins.gan.ddgan import Ddgan, DdganUnet
from trilemma.plugins.gan.game import AdversarialModel, diversity
from trilemma.plugins.gan.gan import GanUnet
from trilemma.plugins.gan.losses import discriminator_loss, generator_loss, with_squared_gradient


def test_losses_are_the_cross_entropies_of_the_game() -> None:
    real, fake = torch.tensor([-2.0, 0.0, 3.0]), torch.tensor([1.0, -4.0, 0.5])
    by_hand = -(real.sigmoid().log() + (1 - fake.sigmoid()).log())
    torch.testing.assert_close(discriminator_loss(real, fake), by_hand)
    torch.testing.assert_close(generator_loss(fake), -fake.sigmoid().log())


def test_penalty_and_its_own_gradient_by_hand(generator: Callable[..., torch.Generator]) -> None:
    # D(x) = a . sin(W x): its gradient is W^T (a cos(W x)), and d|grad|^2 / da = 2 cos(W x) * (W grad).
    weight, x = (torch.randn(shape, generator=generator(), dtype=torch.float64) for shape in ((3, 2), (5, 2)))
    a = torch.randn(3, generator=generator(1), dtype=torch.float64).requires_grad_()
    logits, squared = with_squared_gradient(lambda points: (points @ weight.T).sin() @ a, x)
    torch.testing.assert_close(logits, (x @ weight.T).sin() @ a)
    gradient = ((x @ weight.T).cos() * a) @ weight
    torch.testing.assert_close(squared, gradient.square().sum(1))
    (slope,) = torch.autograd.grad(squared.sum(), a)
    by_hand = 2 * ((x @ weight.T).cos() * (gradient @ weight.T)).sum(0)
    torch.testing.assert_close(slope, by_hand.detach())


def test_lazy_penalty_is_taken_now_and_then_at_equal_weight_in_all(
    context: Callable[..., trilemma.Context], built: Callable[..., AdversarialModel]
) -> None:
    every = {}
    for r1_every in (1, 2):
        model = built(Ddgan(Ddgan.Config(hidden=(16,), r1_every=r1_every)))
        clock, terms = trilemma.Clock(trilemma.Budget(steps=2)), []
        for _ in clock:
            ctx = context(clock=clock)
            terms.append(float(model.training_step(torch.ones(64, 2), ctx, lambda loss, group="all": None)["penalty"]))
        every[r1_every] = terms
    assert every[2] == pytest.approx([2 * every[1][0], 0.0])
    assert min(every[1]) > 0


def test_the_gradient_at_drawn_points_is_penalized_where_asked(
    context: Callable[..., trilemma.Context], built: Callable[..., AdversarialModel]
) -> None:
    found = {}
    for r2 in (False, True):
        model = built(Ddgan(Ddgan.Config(hidden=(16,), r2=r2)))
        found[r2] = model.training_step(torch.ones(64, 2), context(), lambda loss, group="all": None)
    torch.testing.assert_close(found[True]["fake_logit"], found[False]["fake_logit"])
    assert found[True]["penalty"] > 1.1 * found[False]["penalty"]


@pytest.mark.parametrize("step", [0, 7, 10])
def test_penalty_weighs_less_later(
    step: int, context: Callable[..., trilemma.Context], built: Callable[..., AdversarialModel]
) -> None:
    model = built(Ddgan(Ddgan.Config(hidden=(16,), r1=0.4, r1_final=0.1)))
    clock, losses = trilemma.Clock(trilemma.Budget(steps=10)), {}

    def update(loss: Tensor, group: str = "all") -> None:
        losses[group] = float(loss.detach())

    for _ in clock:
        if clock.step == step:
            break
    ctx = context(clock=clock)
    logs = model.training_step(torch.ones(64, 2), ctx, update)
    assert set(losses) == {"discriminator", "generator"}
    gamma = {0: 0.4, 7: 0.1, 10: 0.1}[step]
    silent = built(Ddgan(Ddgan.Config(hidden=(16,), r1=0.0)))
    bare = silent.training_step(torch.ones(64, 2), context(clock=clock), update)
    assert float(logs["loss"] - bare["loss"]) == pytest.approx(gamma * float(logs["penalty"]), rel=1e-3)


@pytest.mark.parametrize("kind", [Ddgan, DdganUnet])
def test_operations_of_a_training_step_can_be_counted(
    kind: type[AdversarialModel], context: Callable[..., trilemma.Context], built: Callable[..., AdversarialModel]
) -> None:
    shape = (1, 8, 8) if kind is DdganUnet else (2,)
    model = built(kind(), shape)
    flops = training_step_flops(model, torch.randn((8, *shape)), context(shape))[0]
    # Every weight is used forward and backward by both players, at each of its rows.
    assert flops > 2 * sum(parameter.numel() for parameter in model.parameters())


def test_there_is_no_loss_to_keep_weights_by(context: Callable[..., trilemma.Context]) -> None:
    for model in (Ddgan(), GanUnet()):
        with pytest.raises(trilemma.UnsupportedError, match="validations"):
            model.validation_loss(torch.zeros(2, 2), context())


def test_diversity_is_that_of_the_data_and_falls_to_nothing(generator: Callable[..., torch.Generator]) -> None:
    x = torch.randn((500, 2), generator=generator()) * torch.tensor([1.0, 3.0])
    assert float(diversity(x.flip(0), x)) == pytest.approx(1)
    assert float(diversity(0.5 * x, x)) == pytest.approx(0.5)
    assert float(diversity(torch.ones(500, 2), x)) == 0
