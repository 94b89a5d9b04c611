"""The autoregressive model of levels: what each pixel depends on, and its probabilities, by enumeration."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

import trilemma
from trilemma.harness.plugins import Registry
from trilemma.plugins.autoregressive.causal import CausalNetwork, Memory
from trilemma.plugins.autoregressive.levels import SHIFTS, AutoregressiveLevels, orders, shifted


def randomized(module: torch.nn.Module, deviation: float = 0.3) -> None:
    """Random parameters, so that no output layer is 0."""
    generator = torch.Generator().manual_seed(1)
    for parameter in module.parameters():
        parameter.data.copy_(deviation * torch.randn(parameter.shape, generator=generator))
    module.eval()


def network(size: tuple[int, int], levels: int = 5) -> CausalNetwork:
    made = CausalNetwork(size, levels, 3, channels=8, blocks=2, dropout=0.0)
    randomized(made)
    return made


def built(shape: tuple[int, int, int], levels: int, **config: object) -> tuple[AutoregressiveLevels, trilemma.Context]:
    """A model with random weights on images of the shape, and its context. Levels are 0.5 wide in model space."""
    info = trilemma.DataInfo(
        name="toy", kind="image", shape=shape, n_train=50, levels=levels, support=(-1.0, -1.0 + 0.5 * levels)
    )
    model = AutoregressiveLevels(AutoregressiveLevels.Config(channels=6, blocks=1, dropout=0.0, **config))  # type: ignore[arg-type]
    model.build(info)
    randomized(model.network)
    ctx = trilemma.Context(info=info, device=torch.device("cpu"), generator=torch.Generator().manual_seed(0))
    return model, ctx


def all_images(shape: tuple[int, int, int], levels: int) -> Tensor:
    """Every image of the shape, `(levels^pixels, *shape)`."""
    return torch.tensor([*itertools.product(range(levels), repeat=math.prod(shape))]).reshape(-1, *shape)


def test_a_pixel_depends_on_exactly_the_pixels_before_it() -> None:
    made, label = network((4, 5)), torch.ones(1, 3)
    jacobian = torch.autograd.functional.jacobian(  # type: ignore[no-untyped-call]
        lambda x: made(x, label).sum((0, 1)), torch.rand(1, 4, 5) * 4, vectorize=True
    )
    depends = jacobian.reshape(20, 20) != 0
    assert torch.equal(depends, torch.ones(20, 20).tril(-1).bool())


def test_rows_with_a_memory_are_those_of_the_whole_image() -> None:
    made, label = network((4, 5)), torch.rand(3, 3)
    x = torch.randint(5, (3, 4, 5), generator=torch.Generator().manual_seed(2))
    memory, found = Memory(), []
    for row in range(4):
        made(torch.zeros_like(x).where(torch.arange(5) > 2, x), label, row, memory)  # the row with fewer pixels known
        found.append(made(x, label, row, memory))
        memory.next_row()
    assert torch.allclose(torch.cat(found, dim=2), made(x, label), atol=1e-5)


@pytest.mark.parametrize("chosen", ["one", "all"])
@pytest.mark.parametrize(("shape", "levels"), [((1, 2, 3), 3), ((1, 2, 2), 4), ((3, 1, 2), 2)])
def test_probabilities_of_all_images_sum_to_one(chosen: str, shape: tuple[int, int, int], levels: int) -> None:
    model, ctx = built(shape, levels, orders=chosen)
    images = all_images(shape, levels)
    middle = -1 + 0.5 * (images + 0.5)
    volume = 0.5 ** math.prod(shape)
    log_prob = model.log_prob(middle, ctx).double()
    assert log_prob.std() > 0.5
    assert float((log_prob.exp() * volume).sum()) == pytest.approx(1, abs=1e-5)
    edges = torch.rand(images.shape, generator=torch.Generator().manual_seed(0)) * 0.98 + 0.01
    assert torch.allclose(model.log_prob(-1 + 0.5 * (images + edges), ctx).double(), log_prob)
    assert torch.isneginf(model.log_prob(middle - 0.5 * levels, ctx)).all()


def test_samples_have_the_probabilities_of_the_model() -> None:
    shape, levels, n = (1, 2, 2), 3, 40_000
    model, ctx = built(shape, levels)
    images = all_images(shape, levels)
    expected = model.log_prob(-1 + 0.5 * (images + 0.5), ctx).double().exp() * 0.5**4
    x = model.sample(n, ctx)
    found = ((x + 1) / 0.5).floor().long().flatten(1) @ torch.tensor([27, 9, 3, 1])
    counts = torch.bincount(found, minlength=81)
    squares = (counts - n * expected).square() / (n * expected)
    assert float(squares.sum()) < 80 + 4 * (2 * 80) ** 0.5
    assert float(((x + 1) / 0.5 % 1).mean()) == pytest.approx(0.5, abs=0.005)


def test_orders_are_the_turns_and_reflections_of_an_image() -> None:
    image = torch.arange(9).reshape(3, 3)
    turned = {tuple(torch.rot90(x, k).flatten().tolist()) for k in range(4) for x in (image, image.flip(1))}
    assert {tuple(order) for order in orders(3, 3).tolist()} == turned
    assert len(orders(2, 3)) == 4
    assert torch.equal(orders(2, 3).sort(dim=1).values, torch.arange(6).expand(4, 6))


def test_shifted_images_repeat_their_edge() -> None:
    image = torch.tensor([[1, 2], [3, 4]])
    found = image.flatten()[shifted(2, 2)].reshape(9, 2, 2)
    assert SHIFTS[0] == (0, 0)
    assert torch.equal(found[0], image)
    assert found[SHIFTS.index((1, 0))].tolist() == [[3, 4], [3, 4]]
    assert found[SHIFTS.index((-1, 1))].tolist() == [[2, 2], [2, 2]]


def test_color_images_move_by_whole_pixels() -> None:
    model, _ = built((3, 4, 5), 4)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(4, (2, 3, 4, 5), generator=generator)
    padded = torch.nn.functional.pad(images.double(), (1, 1, 1, 1), mode="replicate")
    levels = model.levels_of(-1 + 0.5 * (images + 0.5))
    for number, (dy, dx) in enumerate(SHIFTS):
        seen = padded[:, :, 1 + dy : 5 + dy, 1 + dx : 6 + dx]
        expected = model.levels_of(-1 + 0.5 * (seen + 0.5))
        assert torch.equal(levels[:, model.shifts[number]], expected)


def test_the_first_bias_is_the_histogram_of_the_levels() -> None:
    model, ctx = built((1, 2, 2), 3)
    model.build(ctx.info)
    x = -1 + 0.5 * (torch.tensor([0, 0, 0, 1]).expand(30, 4).reshape(30, 1, 2, 2) + 0.5)
    model.initialize(trilemma.Split(x), ctx)
    expected = math.log(91 / 123) * 3 + math.log(31 / 123)
    assert float(model.mixed(torch.tensor([[0, 0, 0, 1]]))) == pytest.approx(expected, abs=1e-5)


def test_data_without_levels_is_refused() -> None:
    info = trilemma.DataInfo(name="toy", kind="image", shape=(1, 2, 2), n_train=50)
    with pytest.raises(trilemma.UnsupportedError, match="no intensity levels"):
        AutoregressiveLevels().build(info)


@pytest.mark.slow
def test_digits_cost_few_bits_after_a_short_training() -> None:
    """After 300 steps on digits, validation images cost fewer than 1.95 bits a pixel; the histogram alone costs 2.9."""
    from trilemma.harness.execution.stages import prepare, train

    model = AutoregressiveLevels()
    dataset = Registry(builtin_only=True).get("datasets", "digits")()
    prepared = prepare(model, dataset)
    budget = trilemma.Budget(steps=300)
    train(model, prepared, recipe=model.recipe, budget=budget, seed=0, device=torch.device("cpu"))
    levels = dataset.splits.valid.flatten(1).long()
    assert float(-model.mixed(levels).mean()) / 64 / math.log(2) < 1.95
