"""The networks of the players, on vectors and images."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from trilemma.plugins.gan.ddgan import Ddgan, DdganUnet
from trilemma.plugins.gan.game import AdversarialModel, per_block
from trilemma.plugins.gan.gan import Gan, GanUnet
from trilemma.plugins.gan.vectors import BlockwiseMLP, log_spaced

IMAGE = (1, 8, 8)


def test_blocks_of_rows_go_through_networks_of_their_own() -> None:
    torch.manual_seed(0)
    network, x = BlockwiseMLP(3, (2, 8, 8, 2)), torch.randn(3, 5, 2)
    together = network(x, slice(None))
    for level in range(3):
        torch.testing.assert_close(together[level : level + 1], network(x[level : level + 1], slice(level, level + 1)))
    assert not torch.allclose(network(x[:1], slice(0, 1)), network(x[:1], slice(1, 2)))


@pytest.mark.parametrize("kind", [Ddgan, DdganUnet])
def test_generator_gives_the_same_at_one_level_and_at_all(
    kind: type[AdversarialModel], built: Callable[..., AdversarialModel]
) -> None:
    shape = IMAGE if kind is DdganUnet else (2,)
    model = built(kind(), shape)
    x, z = torch.randn((12, *shape)), torch.randn((12, 4, *shape[1:]))
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2)
    with torch.no_grad():
        together = model.game.generator(x, z, slice(None))
        for level in range(4):
            rows = slice(3 * level, 3 * level + 3)
            alone = model.game.generator(x[rows], z[rows], slice(level, level + 1))
            torch.testing.assert_close(together[rows], alone, rtol=1e-3, atol=1e-4)


def test_frequencies_and_blocks() -> None:
    table = log_spaced(torch.tensor([1.0, 2.0]), torch.tensor([8.0, 2.0]), 4)
    torch.testing.assert_close(table, torch.tensor([[1.0, 2.0, 4.0, 8.0], [2.0, 2.0, 2.0, 2.0]]))
    assert per_block(torch.tensor([1.0, 2.0]), torch.zeros(4, 3)).flatten().tolist() == [1, 1, 2, 2]


@pytest.mark.parametrize("kind", [Ddgan, DdganUnet, Gan, GanUnet])
def test_a_new_discriminator_tells_points_apart_at_every_level(
    kind: type[AdversarialModel], generator: Callable[..., torch.Generator], built: Callable[..., AdversarialModel]
) -> None:
    # Logits that hardly depend on the point give the generator no slope to follow.
    shape = IMAGE if "image" in kind.accepts else (2,)
    model = built(kind(), shape)
    played = model.game.play(torch.randn((400, *shape), generator=generator()), generator(1))
    deviation = played.judge(played.real).detach().reshape(len(played.detail), -1).std(1)
    assert 0.1 < float(deviation.min()) <= float(deviation.max()) < 2
