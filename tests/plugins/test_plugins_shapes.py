"""Models are built for data of every shape, or say that they do not support it."""

from __future__ import annotations

import contextlib
import math

import pytest

import trilemma
from trilemma.harness.plugins import Registry

SHAPES = [(1,), (2,), (5,), (1, 8, 8), (1, 9, 9), (3, 10, 7), (1, 6, 20)]
MODELS = [kind for kind in Registry(builtin_only=True).classes("models").values() if not kind.control]
CASES = [(kind, shape) for kind in MODELS for shape in SHAPES if len(shape) == 3 or "vector" in kind.accepts]


@pytest.mark.parametrize("kind", MODELS, ids=lambda kind: kind.name)
def test_a_model_supports_points_in_the_plane_or_small_images(kind: type[trilemma.Model]) -> None:
    vector = "vector" in kind.accepts
    prepare(kind, (2,) if vector else (1, 8, 8))


def prepare(kind: type[trilemma.Model], shape: tuple[int, ...]) -> None:
    if len(shape) == 3 and "image" in kind.accepts:
        info = trilemma.DataInfo(name="toy", kind="image", shape=shape, n_train=1000, levels=17, support=(0.0, 1.0))
    else:
        info = trilemma.DataInfo(name="toy", kind="vector", shape=(math.prod(shape),), n_train=1000)
    kind(kind.Config()).prepare(info)


@pytest.mark.parametrize(("kind", "shape"), CASES, ids=lambda case: getattr(case, "name", str(case)))
def test_a_model_is_built_for_any_shape_or_says_that_it_is_unsupported(
    kind: type[trilemma.Model], shape: tuple[int, ...]
) -> None:
    with contextlib.suppress(trilemma.UnsupportedError):
        prepare(kind, shape)
