"""The forms for images: each trains on images as images, samples them, and gives its kind of likelihood."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import trilemma
from trilemma.harness.plugins import Registry
from trilemma.plugins.diffusion import images
from trilemma.plugins.diffusion.edm import EdmUnet
from trilemma.plugins.diffusion.likelihood import OdeLikelihood
from trilemma.plugins.networks.unet import UNet

REGISTRY = Registry(builtin_only=True)
NAMES = [
    "ncsn-unet",
    "ncsnv2-unet",
    "ddpm-unet",
    "ve-sde-unet",
    "vp-sde-unet",
    "subvp-sde-unet",
    "flow-matching-unet",
    "ot-flow-matching-unet",
    "rectified-flow-unet",
]
SMALL: dict[str, dict[str, Any]] = {
    "ddpm-unet": {"steps": 25},
    "ot-flow-matching-unet": {"ot_batch": 16},
    "rectified-flow-unet": {"pairs": 32, "steps": 3},
}


def stripes(n: int, seed: int) -> Tensor:
    """8 x 8 images whose rows are dark or bright."""
    level = torch.randint(0, 2, (n, 1, 8, 1), generator=torch.Generator().manual_seed(seed)).expand(n, 1, 8, 8)
    return (level - 0.5) * 1.8 + 0.4 * torch.randn((n, 1, 8, 8), generator=torch.Generator().manual_seed(seed + 1))


def fit(name: str, context: Callable[..., trilemma.Context], steps: int, **options: object) -> Any:
    """A model that took a few training steps on stripes."""
    kind: Any = REGISTRY.get("models", name)
    model = kind(kind.Config(**{**SMALL.get(name, {}), **options}))
    recipe = kind.recipe.model_copy(update={"validations": 2})
    clock = trilemma.Clock(trilemma.Budget(steps=steps))
    valid = trilemma.Split(stripes(20, 3))
    model.fit(trilemma.Split(stripes(600, 1)), context(kind, (1, 8, 8), clock=clock, recipe=recipe, valid=valid))
    return model


@pytest.mark.parametrize("name", NAMES)
def test_a_form_for_images_keeps_the_shape_of_images(name: str, context: Callable[..., trilemma.Context]) -> None:
    model = fit(name, context, 2, widths=(8, 16), blocks=1)
    assert any(isinstance(module, UNet) for module in model.modules())
    sampler = model.samplers[0](steps=2)
    x = model.sample(3, context(type(model), (1, 8, 8), sampler=sampler))
    assert x.shape == (3, 1, 8, 8)
    assert torch.isfinite(x).all()
    if model.likelihood != "none":
        ctx = context(type(model), (1, 8, 8))
        if isinstance(ctx.likelihood, OdeLikelihood):
            ctx.likelihood = ctx.likelihood.model_copy(update={"steps": 2})
        assert torch.isfinite(model.log_prob(x, ctx)).all()
        assert ctx.details.get("divergence", "hutchinson") == "hutchinson"


def test_a_form_for_images_differs_from_its_method_in_the_network_alone() -> None:
    network = set(EdmUnet.Config.model_fields) - {"head"}
    for name in NAMES:
        form, method = REGISTRY.get("models", name), REGISTRY.get("models", name.removesuffix("-unet"))
        assert form.__module__ == images.__name__
        assert form.accepts == ("image",)
        assert form.samplers == method.samplers
        assert form.likelihood == method.likelihood
        rest = set(method.Config.model_fields) - {"hidden", "octaves"}
        assert set(form.Config.model_fields) - network == rest - network


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith(("ncsn", "rectified"))])
def test_images_have_even_rows_after_training(name: str, context: Callable[..., trilemma.Context]) -> None:
    model = fit(name, context, 500, widths=(16, 32))
    x = model.sample(200, context(type(model), (1, 8, 8), sampler=model.samplers[0]()))
    assert float(x.std(3).mean()) < 0.55  # .4 within a row, .98 between rows
    assert float(x.mean(3).std()) > 0.75
