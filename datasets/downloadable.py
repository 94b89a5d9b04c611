"""The list of datasets from the network."""

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
"""All datasets from the network, in the order in which they are listed."""


def remote_files() -> dict[str, list[RemoteFile]]:
    """The files of each dataset, by its name."""
    return {cls.name: list(cls().remote.values()) for cls in DOWNLOADABLE}
