"""The built-in datasets, as a plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trilemma

if TYPE_CHECKING:
    import click

    from trilemma import Dataset


@trilemma.hookimpl
def trilemma_datasets() -> list[type[Dataset]]:
    """Distributions with a known density, and real data: from packages, from disk, or downloaded."""
    from . import (
        california,
        cifar,
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
        tabular,
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
        files.File,
        files.ImageFile,
        extras.Mnist5k,
        extras.Mnist1d,
        extras.SkimagePatches,
        mnist.FashionMnist,
        mnist.Mnist,
        mnist.Kmnist,
        cifar.Cifar10,
        california.CaliforniaHousing,
        tabular.Power,
        tabular.Gas,
        tabular.Hepmass,
        tabular.Miniboone,
        tabular.Bsds300,
    ]


@trilemma.hookimpl
def trilemma_commands(group: click.Group) -> None:
    """`trilemma data`."""
    from .commands import data

    group.add_command(data)
