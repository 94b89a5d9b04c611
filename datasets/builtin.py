"""The built-in datasets, as a plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trilemma

if TYPE_CHECKING:
    from trilemma import Dataset


@trilemma.hookimpl
def trilemma_datasets() -> list[type[Dataset]]:
    """The laws with a known density, and the real data that come with the package or lie on disk."""
    from trilemma.datasets import (
        circles,
        conditional,
        curves,
        digits,
        extras,
        files,
        highdim,
        mixtures,
        mnist,
        patches,
        piecewise,
        pinwheel,
        spirals,
        teacher,
    )

    return [
        mixtures.Ring,
        mixtures.Ring8,
        mixtures.Ring8Unequal,
        mixtures.Grid,
        mixtures.Grid25,
        mixtures.Gaussians25,
        mixtures.Gaussians8Ffjord,
        mixtures.Gaussians8WganGp,
        mixtures.Gaussians8Cfm,
        mixtures.Mixture,
        mixtures.TwoModes,
        circles.Rings,
        circles.TwoCircles,
        circles.FourCircles,
        curves.Moons,
        curves.SwissRoll,
        spirals.TwoSpirals,
        pinwheel.Pinwheel,
        piecewise.Checkerboard,
        conditional.Crescent,
        conditional.Cubed,
        conditional.Sine,
        conditional.Abs,
        conditional.Sign,
        highdim.Funnel,
        highdim.ManyWell,
        highdim.GaussianMixture16,
        highdim.GaussianMixture64,
        teacher.Teacher,
        digits.Digits,
        patches.Patches,
        mnist.FashionMnist,
        mnist.Mnist,
        mnist.Kmnist,
        extras.Mnist5k,
        extras.Mnist1d,
        extras.SkimagePatches,
        files.File,
        files.ImageFile,
    ]
