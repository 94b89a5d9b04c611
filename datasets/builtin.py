"""The built-in datasets, as a plugin."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import trilemma

from .commands import data

if TYPE_CHECKING:
    import click

DATASETS = {
    "ring": ".mixtures:Ring",
    "ring8": ".mixtures:Ring8",
    "ring8-unequal": ".mixtures:Ring8Unequal",
    "grid": ".mixtures:Grid",
    "grid25": ".mixtures:Grid25",
    "25gaussians": ".mixtures:Gaussians25",
    "8gaussians-ffjord": ".mixtures:Gaussians8Ffjord",
    "8gaussians-wgan-gp": ".mixtures:Gaussians8WganGp",
    "8gaussians-cfm": ".mixtures:Gaussians8Cfm",
    "mixture": ".mixtures:Mixture",
    "two-modes": ".mixtures:TwoModes",
    "rings": ".circles:Rings",
    "circles": ".circles:TwoCircles",
    "four-circles": ".circles:FourCircles",
    "moons": ".curves:Moons",
    "swissroll": ".curves:SwissRoll",
    "2spirals": ".spirals:TwoSpirals",
    "pinwheel": ".pinwheel:Pinwheel",
    "checkerboard": ".piecewise:Checkerboard",
    "crescent": ".conditional:Crescent",
    "cubed": ".conditional:Cubed",
    "sine": ".conditional:Sine",
    "abs": ".conditional:Abs",
    "sign": ".conditional:Sign",
    "funnel": ".highdim:Funnel",
    "many-well": ".highdim:ManyWell",
    "mixture-d16": ".highdim:GaussianMixture16",
    "mixture-d64": ".highdim:GaussianMixture64",
    "teacher-8x8": ".teacher:Teacher",
    "digits": ".digits:Digits",
    "patches": ".patches:Patches",
    "file": ".files:File",
    "image-file": ".files:ImageFile",
    "mnist-5k": ".extras:Mnist5k",
    "mnist1d": ".extras:Mnist1d",
    "patches-skimage": ".extras:SkimagePatches",
    "optdigits": ".packaged:Optdigits",
    "magic": ".packaged:Magic",
    "letter": ".packaged:Letter",
    "shuttle": ".packaged:Shuttle",
    "fashion-mnist": ".mnist:FashionMnist",
    "mnist": ".mnist:Mnist",
    "kmnist": ".mnist:Kmnist",
    "cifar10": ".cifar:Cifar10",
    "california-housing": ".california:CaliforniaHousing",
    "power": ".tabular:Power",
    "gas": ".tabular:Gas",
    "hepmass": ".tabular:Hepmass",
    "miniboone": ".tabular:Miniboone",
    "bsds300": ".tabular:Bsds300",
}
"""Every built-in dataset by its name: distributions with a known density, then real data from packages, disk or the
network. A module is imported when one of its datasets is used."""


@trilemma.hookimpl
def trilemma_datasets() -> dict[str, str]:
    """The built-in datasets."""
    return DATASETS


@trilemma.hookimpl
def trilemma_own_data(path: Path) -> dict[str, Any] | None:
    """A table or a folder of images."""
    from .own import entry

    return entry(path)


@trilemma.hookimpl
def trilemma_commands(group: click.Group) -> None:
    """Add the command `trilemma data`."""

    group.add_command(data)
