"""The plain GAN: what its generator and its discriminator see, which a denoising diffusion GAN's see more of."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

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


@pytest.mark.parametrize("noise", ["realnvp", "iaf"])
@pytest.mark.parametrize(("kind", "shape"), [(Gan, (2,)), (GanUnet, IMAGE)])
def test_noise_passes_a_flow_that_learns_with_the_generator(
    kind: type[AdversarialModel],
    shape: tuple[int, ...],
    noise: str,
    generator: Callable[..., torch.Generator],
    built: Callable[..., AdversarialModel],
) -> None:
    model = built(kind(kind.Config(noise=noise)), shape)
    game = model.game
    inner, flow = game.generator.generator, game.generator.flow
    assert isinstance(inner, nn.Module)
    assert isinstance(flow, nn.Module)
    seen: list[tuple[torch.Tensor, ...]] = []
    inner.register_forward_pre_hook(lambda module, points: seen.append(points))

    def joined(*parts: torch.Tensor) -> torch.Tensor:
        return torch.cat([part.flatten(1) for part in parts], dim=1)

    u, z = torch.randn((5, *shape), generator=generator(1)), torch.randn((5, 4, *shape[1:]), generator=generator(2))
    game.generator(u, z)
    torch.testing.assert_close(joined(*seen[0][:2]).sort(1).values, joined(u, z).sort(1).values)  # a permutation
    for parameter in (*flow.parameters(), *inner.parameters()):
        nn.init.normal_(parameter, std=0.1)
    # What the generator gets has the density of the flow: the direction to the base distribution brings the noise back.
    made = game.generator(u, z)
    moved = joined(*seen[1][:2]).detach()
    torch.testing.assert_close(flow(moved)[0], joined(u, z), atol=2e-4, rtol=0)
    assert float((moved.sort(1).values - joined(u, z).sort(1).values).abs().max()) > 0.05
    slopes = torch.autograd.grad(made.square().sum(), list(flow.parameters()), allow_unused=True)
    assert max(float(slope.abs().max()) for slope in slopes if slope is not None) > 0
    group = {id(parameter) for parameter in model.parameter_groups()["generator"]}
    assert {id(parameter) for parameter in flow.parameters()} <= group
