"""Couplings and autoregressive layers have the densities of zuko with the same weights."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from trilemma.plugins.flows.base import StandardNormal
from trilemma.plugins.flows.coupling import Couplings
from trilemma.plugins.flows.flow import Flow
from trilemma.plugins.flows.fused import FusedCouplings
from trilemma.plugins.flows.fused_maps import fused_affine, fused_rational_quadratic
from trilemma.plugins.flows.maf import MAF


def linear_layers(network: nn.Module) -> list[nn.Module]:
    return [layer for layer in network.modules() if isinstance(getattr(layer, "weight", None), nn.Parameter)]


def copy_mlp(width: int, layers: Iterable[Tensor], theirs: nn.Module) -> None:
    """Copy the layers of zuko. Its last layer orders outputs by coordinate, then parameter; ours the other way."""
    values = [layer.get_parameter(name).data for layer in linear_layers(theirs) for name in ("weight", "bias")]
    values[-2:] = [v.reshape(-1, width, *v.shape[1:]).transpose(0, 1).reshape(v.shape) for v in values[-2:]]
    for one, other in zip(layers, values, strict=True):
        one.detach().copy_(other.reshape(one.shape))


@pytest.mark.parametrize("spline", [False, True])
def test_couplings_equal_those_of_zuko(spline: bool) -> None:
    zuko = pytest.importorskip("zuko")
    torch.manual_seed(0)
    options = {"hidden_features": (16, 16), "activation": nn.ReLU}
    if spline:
        options |= {"univariate": zuko.transforms.MonotonicRQSTransform, "shapes": [(6,), (6,), (5,)]}
    theirs = zuko.flows.coupling.GeneralCouplingTransform(4, **options)
    elementwise = fused_rational_quadratic(6, 5.0) if spline else fused_affine(math.log(1e3))
    ours = Flow([FusedCouplings(4, 1, elementwise, (16, 16))], StandardNormal((4,)))
    (layer,) = ours.parts()
    assert isinstance(layer, Couplings)
    copy_mlp(elementwise.width, layer.stacked, theirs.hyper)
    kept = theirs.mask.nonzero()[:, 0]
    order = torch.cat([kept, (~theirs.mask).nonzero()[:, 0]])
    x = 2 * torch.randn(50, 4)
    z, logdet = ours(x[:, order])
    expected, expected_logdet = theirs().call_and_ladj(x)
    torch.testing.assert_close(z, expected[:, order], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(logdet, expected_logdet, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("spline", [False, True])
def test_autoregressive_layers_equal_those_of_zuko(family: Any, spline: bool) -> None:
    zuko = pytest.importorskip("zuko")
    torch.manual_seed(0)
    options = {"transforms": 2, "hidden_features": (16, 16), "activation": nn.ReLU}
    theirs = zuko.flows.NSF(3, bins=6, **options) if spline else zuko.flows.MAF(3, **options)
    config = {"transforms": 2, "hidden": (16, 16), "octaves": 0}
    if spline:
        kind = family.by_name["nsf-autoregressive"]
        model = kind(kind.Config(bins=6, bound=5.0, **config))
    else:
        model = MAF(MAF.Config(bound=math.log(1e3), **config))
    model.build(family.info("maf", 3))
    flow = model.flow
    assert isinstance(flow, Flow)
    for layer, transform in zip(flow.parts(), theirs.transform.transforms, strict=True):
        net = layer.conditioner
        copy_mlp(net.width, net.held, transform.hyper)  # type: ignore[arg-type, union-attr]
        linear = linear_layers(transform.hyper)
        for number, part in enumerate(linear):
            mask = part.mask.float()  # type: ignore[union-attr, operator]
            if number == len(linear) - 1:
                mask = mask.reshape(3, net.width, -1).transpose(0, 1).flatten(0, 1)  # type: ignore[arg-type, call-overload]
            net.register_buffer(f"mask{number}", mask)  # type: ignore[operator, union-attr]
    x = 2 * torch.randn(50, 3)
    torch.testing.assert_close(model.log_prob(x, family.context("maf", 3)), theirs().log_prob(x), atol=1e-5, rtol=1e-5)
