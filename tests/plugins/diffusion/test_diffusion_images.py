"""The forms for images: each is its method with another network, trains on images, and samples them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import trilemma
from trilemma.harness.plugins import Registry
from trilemma.plugins.diffusion.likelihood import OdeLikelihood
from trilemma.plugins.networks.mlp import MLPConfig
from trilemma.plugins.networks.unet import UNET_RECIPE, UNet, UNetConfig

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


def fit(name: str, context: Callable[..., trilemma.Context], options: dict[str, Any], *, steps: int) -> Any:
    """A model with these options that took a few training steps on stripes."""
    kind: Any = REGISTRY.get("models", name)
    model = kind(kind.Config(**options))
    recipe = kind.recipe.model_copy(update={"validations": 2})
    clock = trilemma.Clock(trilemma.Budget(steps=steps))
    valid = trilemma.Split(stripes(20, 3))
    model.fit(trilemma.Split(stripes(600, 1)), context(kind, (1, 8, 8), clock=clock, recipe=recipe, valid=valid))
    return model


@pytest.mark.parametrize("name", NAMES)
def test_a_form_for_images_keeps_the_shape_of_images(name: str, context: Callable[..., trilemma.Context]) -> None:
    model = fit(name, context, {"widths": (8, 16), "blocks": 1, **SMALL.get(name, {})}, steps=2)
    assert model.accepts == ("image",)
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


class InARow(nn.Module):
    """A raw network that sees the coordinates of a point in a row, the same for images and for vectors.

    The weights of its last layer, in a row, are also the same, although images have fewer channels than vectors.
    """

    hidden = 6

    def __init__(self, info: trilemma.DataInfo, outputs: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        self.first = nn.Parameter(torch.randn((info.dim, self.hidden), generator=generator) / info.dim**0.5)
        self.last = nn.Linear(self.hidden * info.dim // info.shape[0], outputs, bias=False)
        self.last.weight.data = torch.randn(self.last.weight.numel(), generator=generator).reshape(outputs, -1)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        h = (x.flatten(1) @ self.first + label.unsqueeze(1)).tanh()
        return (h @ self.last.weight.reshape(-1, self.hidden).T).reshape(len(x), -1, *x.shape[2:])


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("ncsn-unet", {}),
        ("ncsnv2-unet", {}),
        ("ddpm-unet", {"steps": 25}),
        ("ddpm-unet", {"steps": 25, "objective": "hybrid", "variance": "learned", "schedule": "cosine"}),
        ("ve-sde-unet", {}),
        ("vp-sde-unet", {"parametrization": "noise"}),
        ("vp-sde-unet", {"weighting": "likelihood", "times": "importance"}),
        ("subvp-sde-unet", {}),
        ("flow-matching-unet", {}),
        ("flow-matching-unet", {"latent": 0.5}),
        ("ot-flow-matching-unet", {"ot_batch": 16, "every": 2}),
        ("rectified-flow-unet", {"pairs": 32, "steps": 3}),
    ],
)
def test_with_one_network_a_form_for_images_is_its_method_on_pixels_in_a_row(
    name: str, options: dict[str, Any], context: Callable[..., trilemma.Context], monkeypatch: pytest.MonkeyPatch
) -> None:
    for sizes in (UNetConfig, MLPConfig):
        monkeypatch.setattr(sizes, "network", lambda _, info, outputs=None: InARow(info, outputs or info.shape[0]))
    recipe = UNET_RECIPE.model_copy(update={"batch_size": 32, "warmup": 0})
    form, method = (REGISTRY.get("models", kind) for kind in (name, name.removesuffix("-unet")))
    found = []
    for kind, x in ((form, stripes(200, 1)), (method, stripes(200, 1).flatten(1))):
        clock = trilemma.Clock(trilemma.Budget(steps=10))
        ctx = context(kind, x.shape[1:], clock=clock, recipe=recipe, likelihood=method.Likelihood())
        ctx.info = replace(ctx.info, support=None)  # images alone are clipped
        model = kind(kind.Config(**options))
        model.fit(trilemma.Split(x), ctx)
        assert len(ctx.curves["loss"]) == 10
        if isinstance(ctx.likelihood, OdeLikelihood):
            ctx.likelihood = ctx.likelihood.model_copy(update={"steps": 2, "divergence": "hutchinson"})
        ctx.sampler = model.samplers[0](steps=4)
        weights = torch.cat([weight.detach().flatten() for weight in model.parameters()])
        row = [weights, torch.tensor(ctx.curves["loss"]), model.sample(20, ctx).flatten(1)]
        found.append(row if model.likelihood == "none" else [*row, model.log_prob(x[:20], ctx)])
    for of_images, of_vectors in zip(*found, strict=True):
        torch.testing.assert_close(of_images, of_vectors, atol=1e-4, rtol=1e-4)
    start = InARow(trilemma.DataInfo(name="toy", kind="vector", shape=(64,), n_train=200), found[0][2].shape[1])
    assert not torch.allclose(found[0][0][: start.first.numel()], start.first.flatten()), "it was trained"


ODE: dict[str, tuple[object, str]] = {
    "Likelihood.steps": (18, "a U-Net costs more than an MLP"),
    "Likelihood.divergence": ("hutchinson", "images have many pixels"),
    "Likelihood.probes": (2, "a U-Net costs more than an MLP"),
}
DRAWS: dict[str, tuple[object, str]] = {
    "validation_draws": (1, "an image has many pixels, so that one draw of the noise for each suffices"),
}
DIFFERENCES: dict[str, dict[str, tuple[object, str]]] = {
    "ncsn-unet": DRAWS,
    "ncsnv2-unet": DRAWS,
    "ddpm-unet": {
        **DRAWS,
        "Config.steps": (1_000, "T of the paper: the bound of a shorter chain is looser"),
        "Likelihood.sampled_steps": (200, "1,000 evaluations of a U-Net for each image take too long"),
    },
    "ve-sde-unet": {**DRAWS, **ODE},
    "vp-sde-unet": {**DRAWS, **ODE},
    "subvp-sde-unet": {**DRAWS, **ODE},
    "flow-matching-unet": {**DRAWS, **ODE},
    "ot-flow-matching-unet": ODE,
    "rectified-flow-unet": {**DRAWS, **ODE, "part": (100, "2,000 images at once take as long as a short budget")},
}
"""All that differs by default between a form for images and its method, with the reason, besides the network and its
recipe."""


def settings_of(model: type[Any]) -> dict[str, object]:
    """The options of a model and of its likelihood with their defaults, without those of networks; its samplers."""
    network = UNetConfig.model_fields | MLPConfig.model_fields
    return {
        f"{part.__name__}.{name}": field.get_default()
        for part in (model.Config, model.Likelihood)
        for name, field in part.model_fields.items()
        if name not in network
    } | {"samplers": model.samplers, "ema": model.recipe.ema, "keep": model.recipe.keep}


@pytest.mark.parametrize("name", NAMES)
def test_a_form_for_images_has_the_options_of_its_method_but_for_named_exceptions(name: str) -> None:
    form, method = (REGISTRY.get("models", kind) for kind in (name, name.removesuffix("-unet")))
    own, those = settings_of(form), settings_of(method)
    assert set(own) == set(those)
    differing = {key: value for key, value in own.items() if value != those[key]}
    # What the form defines on its own, besides what says how it is called, tried and trained.
    named = {"name", "accepts", "recipe", "expected_failures", "Config", "Likelihood", "samplers"}
    for base in set(form.__mro__) - set(method.__mro__):
        differing |= {
            key: value
            for key, value in vars(base).items()
            if not key.startswith("_") and key not in named and value != getattr(method, key, None)
        }
    assert differing == {key: value for key, (value, _) in DIFFERENCES[name].items()}


TRAINED: dict[str, dict[str, Any]] = {"rectified-flow-unet": {"pairs": 2_000, "steps": 10}}
"""Options for a training of 500 steps, in place of the defaults."""


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_images_have_even_rows_after_training(name: str, context: Callable[..., trilemma.Context]) -> None:
    model = fit(name, context, {"widths": (16, 32), **TRAINED.get(name, {})}, steps=500)
    x = model.sample(200, context(type(model), (1, 8, 8), sampler=model.samplers[0]()))
    assert float(x.std(3).mean()) < 0.55  # .4 within a row, .98 between rows
    assert float(x.mean(3).std()) > 0.75
