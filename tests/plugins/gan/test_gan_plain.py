"""The plain GAN: what its generator and its discriminator see, which a denoising diffusion GAN's see more of."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

import trilemma
from trilemma.plugins.gan.ddgan import Ddgan, DdganUnet
from trilemma.plugins.gan.game import AdversarialModel
from trilemma.plugins.gan.gan import Gan, GanUnet

IMAGE = (1, 8, 8)


@pytest.mark.parametrize(("kind", "shape"), [(Gan, (2,)), (GanUnet, IMAGE), (GanUnet, (3, 12, 16))])
def test_discriminator_of_the_plain_gan_sees_single_points_alone(
    kind: type[AdversarialModel],
    shape: tuple[int, ...],
    generator: Callable[..., torch.Generator],
    built: Callable[..., AdversarialModel],
) -> None:
    played = built(kind(), shape).game.play(torch.randn((8, *shape), generator=generator()), generator(1))
    logits = played.judge(played.real)
    assert logits.shape == (8,)
    alone = torch.cat([played.judge(point.unsqueeze(0)) for point in played.real])
    torch.testing.assert_close(logits, alone, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("kind", "shape"), [(Ddgan, (2,)), (DdganUnet, IMAGE), (DdganUnet, (3, 32, 32))])
def test_discriminator_of_steps_sees_where_they_start(
    kind: type[AdversarialModel],
    shape: tuple[int, ...],
    generator: Callable[..., torch.Generator],
    built: Callable[..., AdversarialModel],
) -> None:
    judge = built(kind(), shape).game.discriminator
    x, one, other = (torch.randn((8, *shape), generator=generator(seed)) for seed in range(3))
    assert judge(x, one).shape == (8,)
    assert not torch.allclose(judge(x, one), judge(x, other))


@pytest.mark.parametrize(("kind", "shape"), [(Gan, (2,)), (GanUnet, IMAGE)])
def test_the_plain_generator_sees_noise_alone(
    kind: type[AdversarialModel],
    shape: tuple[int, ...],
    generator: Callable[..., torch.Generator],
    built: Callable[..., AdversarialModel],
) -> None:
    game = built(kind(), shape).game
    x = torch.randn((8, *shape), generator=generator())
    assert torch.equal(game.play(x, generator(1)).fake, game.play(x + 5, generator(1)).fake)


def test_images_are_judged_under_noise_of_the_finest_detail(
    generator: Callable[..., torch.Generator], built: Callable[..., AdversarialModel]
) -> None:
    x = torch.randn((64, 2), generator=generator())
    assert torch.equal(built(Gan()).game.play(x, generator(1)).real, x)
    images = torch.zeros((200, *IMAGE))
    played = built(GanUnet(), IMAGE).game.play(images, generator(1))
    assert float(played.real.std()) == pytest.approx(0.25, rel=0.03)
    assert float(played.fake.detach().std()) == pytest.approx(0.25, rel=0.03)  # an untrained U-Net gives zeros


def test_images_of_any_size_are_drawn(
    context: Callable[..., trilemma.Context], built: Callable[..., AdversarialModel]
) -> None:
    assert built(GanUnet(), (3, 12, 16)).sample(2, context((3, 12, 16))).shape == (2, 3, 12, 16)
