"""Flows on images: their masks, networks and scales, against autograd, plain convolutions and definitions."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import trilemma
from trilemma.plugins.flows.flow import Bijection, Flow
from trilemma.plugins.flows.images.couplings import ChannelCoupling, CheckerboardCoupling
from trilemma.plugins.flows.images.layers import FactorOut
from trilemma.plugins.flows.images.networks import Bottleneck, Convolutional, ImageNetwork, Residual
from trilemma.plugins.flows.linear import LULinear
from trilemma.plugins.flows.transforms import affine

NETWORKS = ("convolutional", "residual", "bottleneck")


def made(
    kind: str, n_in: int, n_out: int, scatter: Callable[[nn.Module], None], size: tuple[int, int] = (4, 4)
) -> ImageNetwork:
    torch.manual_seed(0)
    net: ImageNetwork
    if kind == "convolutional":
        net = Convolutional(n_in, n_out, 2, 6, 0.0)
    elif kind == "residual":
        net = Residual(n_in, n_out, 2, 6, 2, 0.0)
    else:
        net = Bottleneck(n_in, n_out, size, 2, 6, 5, 0.0)
    scatter(net)
    return net.double()


def plain(net: ImageNetwork, x: Tensor) -> Tensor:
    """The outputs of a network for images `(n, c, h, w)` by convolutions over images of this usual shape."""
    if isinstance(net, Convolutional):
        h = F.relu(F.conv2d(x, net.first.weight, net.first.bias, padding=1))
        h = F.relu(F.conv2d(h, net.middle.weight, net.middle.bias))
        return F.conv2d(h, net.last.weight, net.last.bias, padding=1)
    if isinstance(net, Residual):
        h = F.conv2d(x, net.first.weight, net.first.bias, padding=1)
        for a, b in zip(net.inner, net.outer, strict=True):
            inside = F.relu(F.conv2d(F.relu(h), a.weight, a.bias, padding=1))
            h = h + F.conv2d(inside, b.weight, b.bias, padding=1)
        return F.conv2d(F.relu(h), net.last.weight, net.last.bias)
    assert isinstance(net, Bottleneck)
    units = F.silu(net.squeeze(x.flatten(1)))
    h = F.silu(F.conv2d(x, net.kernel, padding=1) + net.place + net.spread(units).view(len(x), -1, *x.shape[2:]))
    return F.conv2d(h, net.last.weight[:, :, None, None], net.last.bias)


@pytest.mark.parametrize("size", [(4, 4), (2, 3)])
@pytest.mark.parametrize("kind", NETWORKS)
def test_networks_with_points_last_equal_usual_convolutions(
    normal: Callable[..., Tensor], scatter: Callable[..., None], kind: str, size: tuple[int, int]
) -> None:
    net, x = made(kind, 3, 2, scatter, size), normal(5, 3, *size)
    found = net(x.movedim(0, -1).contiguous()).movedim(-1, 0).flatten(1, 2)
    assert found.abs().max() > 0.1
    torch.testing.assert_close(found, plain(net, x))


def jacobian(layer: Bijection, x: Tensor) -> Tensor:
    """The Jacobian of one image `(c, h, w)`, as a square matrix."""
    return torch.autograd.functional.jacobian(lambda p: layer(p.view(1, *x.shape))[0].flatten(), x.flatten())


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("mask", ["checkerboard", "channels"])
def test_couplings_move_what_their_mask_says_by_what_it_keeps(
    normal: Callable[..., Tensor], scatter: Callable[..., None], kind: str, turned: bool, mask: str
) -> None:
    shape = (2, 4, 4)
    channel, row, column = torch.meshgrid(*map(torch.arange, shape), indexing="ij")
    layer: Bijection
    if mask == "checkerboard":
        layer = CheckerboardCoupling(shape, affine(3.0), lambda a, b: made(kind, a, b, scatter), even=turned)
        moves = (row + column) % 2 == (0 if turned else 1)
    else:
        layer = ChannelCoupling(2, affine(3.0), lambda a, b: made(kind, a, b, scatter), first=turned)
        moves = channel == (0 if turned else 1)
    moves = moves.flatten()
    x = normal(*shape)
    slopes = jacobian(layer, x)
    assert torch.equal(slopes[~moves], torch.eye(32, dtype=torch.float64)[~moves])
    of_moving = slopes[moves][:, moves]
    assert torch.equal(of_moving, of_moving.diagonal().diag())
    assert (of_moving.diagonal() - 1).abs().min() > 0
    assert slopes[moves][:, ~moves].abs().max() > 1e-3
    torch.testing.assert_close(layer(x[None])[1][0], torch.linalg.slogdet(slopes).logabsdet)
    torch.testing.assert_close(layer.inverse(layer(x[None])[0])[0][0], x)


def built(family: Any, scatter: Callable[..., None], name: str, side: int = 4, **config: object) -> Flow:
    torch.manual_seed(0)
    model = family.by_name[name](family.by_name[name].Config(hidden=6, dense=5, **config))
    model.build(trilemma.DataInfo(name="toy", kind="image", shape=(1, side, side), n_train=10_000, levels=17))
    scatter(model)
    flow = model.double().eval().flow
    assert isinstance(flow, Flow)
    return flow


OPTIONS = [
    ("glow-multiscale", {"permutation": permutation, "coupling": coupling, "steps": 2})
    for permutation, coupling in product(("1x1-convolution", "shuffle", "reverse"), ("affine", "additive", "spline"))
]
OPTIONS += [("realnvp-multiscale", {"normalization": chosen}) for chosen in ("batch-norm", "actnorm", "none")]
OPTIONS += [("realnvp-multiscale", {"coupling": "additive"}), ("nsf-multiscale", {"factor_out": True})]


@pytest.mark.parametrize(("name", "config"), OPTIONS, ids=str)
def test_every_option_inverts_and_its_determinant_agrees_with_autograd(
    family: Any, normal: Callable[..., Tensor], scatter: Callable[..., None], name: str, config: dict[str, object]
) -> None:
    flow, x = built(family, scatter, name, **config), normal(3, 1, 4, 4)
    z, logdet = flow(x)
    assert z.shape == (3, 16)
    slopes = torch.stack([jacobian(flow, one) for one in x])
    torch.testing.assert_close(logdet, torch.linalg.slogdet(slopes).logabsdet, atol=1e-8, rtol=1e-8)
    torch.testing.assert_close(flow.inverse(z)[0], x, atol=1e-10, rtol=0)
    if config.get("coupling") == "additive" and config.get("permutation") in ("shuffle", "reverse"):
        assert logdet.std() < 1e-12  # additive couplings preserve volume; only actnorm changes it


@pytest.mark.parametrize("name", ["realnvp-multiscale", "glow-multiscale"])
def test_half_of_the_pixels_leave_after_the_first_scale(
    family: Any, normal: Callable[..., Tensor], scatter: Callable[..., None], name: str
) -> None:
    flow, x = built(family, scatter, name, side=8, scales=3), normal(2, 1, 8, 8)
    (first,) = [layer for layer in flow.parts() if isinstance(layer, FactorOut)]
    before = flow(x)[0]
    for parameter in first.parameters():  # the layers of all scales after the first
        parameter.data.add_(0.1)
    after = flow(x)[0]
    assert torch.equal(before[:, 32:], after[:, 32:])
    assert ((before != after).sum(1) == 32).all()
    assert [type(layer) for layer in flow.parts()][-1] is FactorOut
    assert sum(isinstance(layer, FactorOut) for layer in first.rest.modules()) == 1


def test_the_scales_of_realnvp_hold_the_couplings_of_the_paper(family: Any, scatter: Callable[..., None]) -> None:
    flow = built(family, scatter, "realnvp-multiscale", side=8, scales=2, normalization="none")
    found = [type(layer).__name__ for layer in flow.modules() if isinstance(layer, Bijection)]
    checkerboard, channels = ["CheckerboardCoupling"], ["ChannelCoupling"]
    expected = [*checkerboard * 3, "Squeeze", *channels * 3, "FactorOut", "Composition", *checkerboard * 4, "Flatten"]
    assert found == ["Flow", *expected]
    turns = [layer.moves[0, 0].item() for layer in flow.modules() if isinstance(layer, CheckerboardCoupling)]
    assert turns == [False, True, False, False, True, False, True]
    assert [layer.first for layer in flow.modules() if isinstance(layer, ChannelCoupling)] == [False, True, False]


def test_the_ablation_of_glow_is_a_grid(family: Any) -> None:
    kind = family.by_name["glow-multiscale"]
    defaults = kind.Config()
    assert (defaults.permutation, defaults.coupling, defaults.factor_out) == ("1x1-convolution", "affine", True)
    assert not defaults.marginal_start
    for name in ("glow", "glow-multiscale"):
        kind = family.by_name[name]
        model = kind(kind.Config(permutation="shuffle"))
        model.build(family.info(name, 4))
        assert not any(isinstance(layer, LULinear) for layer in model.modules())


def test_images_of_odd_sides_and_mixtures_are_refused(family: Any) -> None:
    kind = family.by_name["realnvp-multiscale"]
    odd = trilemma.DataInfo(name="odd", kind="image", shape=(1, 7, 8), n_train=100, levels=17)
    with pytest.raises(trilemma.UnsupportedError, match="even height"):
        kind().build(odd)
    with pytest.raises(trilemma.UnsupportedError, match="base_components"):
        kind(kind.Config(base_components=2)).build(family.info("realnvp-multiscale"))
