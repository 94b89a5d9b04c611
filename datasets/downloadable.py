"""The datasets that come from the network."""

from __future__ import annotations

from .california import CaliforniaHousing
from .cifar import Cifar10
from .download import Downloaded, RemoteFile
from .mnist import FashionMnist, Kmnist, Mnist
from .tabular import Bsds300, Gas, Hepmass, Miniboone, Power

DOWNLOADABLE: tuple[type[Downloaded], ...] = (
    *(FashionMnist, Mnist, Kmnist, Cifar10, CaliforniaHousing),
    *(Power, Gas, Hepmass, Miniboone, Bsds300),
)
"""Every one of them, in the order of the lists that show them."""


def remote_files() -> dict[str, list[RemoteFile]]:
    """The files of each, by its name."""
    return {cls.name: list(cls().remote.values()) for cls in DOWNLOADABLE}
