"""The built-in datasets, as a plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trilemma

from .commands import data

if TYPE_CHECKING:
    import click

    from trilemma import Dataset


@trilemma.hookimpl
def trilemma_datasets() -> list[type[Dataset]]:
    """Distributions with a known density, and real data: from packages, from disk, or downloaded."""
    from .circles import FourCircles, Rings, TwoCircles
    from .conditional import Abs, Crescent, Cubed, Sign, Sine
    from .curves import Moons, SwissRoll
    from .digits import Digits
    from .downloadable import DOWNLOADABLE
    from .extras import Mnist1d, Mnist5k, SkimagePatches
    from .files import File, ImageFile
    from .highdim import Funnel, GaussianMixture16, GaussianMixture64, ManyWell
    from .mixtures import (
        Gaussians8Cfm,
        Gaussians8Ffjord,
        Gaussians8WganGp,
        Gaussians25,
        Grid,
        Grid25,
        Mixture,
        Ring,
        Ring8,
        Ring8Unequal,
        TwoModes,
    )
    from .patches import Patches
    from .piecewise import Checkerboard
    from .pinwheel import Pinwheel
    from .spirals import TwoSpirals
    from .teacher import Teacher

    mixtures: list[type[Dataset]] = [
        *(Ring, Ring8, Ring8Unequal, Grid, Grid25, Gaussians25),
        *(Gaussians8Ffjord, Gaussians8WganGp, Gaussians8Cfm, Mixture, TwoModes),
    ]
    curves: list[type[Dataset]] = [Rings, TwoCircles, FourCircles, Moons, SwissRoll, TwoSpirals, Pinwheel]
    pieces: list[type[Dataset]] = [Checkerboard, Crescent, Cubed, Sine, Abs, Sign]
    spatial: list[type[Dataset]] = [Funnel, ManyWell, GaussianMixture16, GaussianMixture64, Teacher]
    offline: list[type[Dataset]] = [Digits, Patches, File, ImageFile, Mnist5k, Mnist1d, SkimagePatches]
    return [*mixtures, *curves, *pieces, *spatial, *offline, *DOWNLOADABLE]


@trilemma.hookimpl
def trilemma_commands(group: click.Group) -> None:
    """`trilemma data`."""

    group.add_command(data)
