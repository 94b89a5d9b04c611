"""MNIST and its successors, from idx files on disk or downloaded."""

from __future__ import annotations

from glob import glob
from pathlib import Path
from typing import ClassVar

import torch
from pydantic import Field

import trilemma

from .download import Downloaded, RemoteFile, cached
from .idx import read_idx
from .splitting import SplitConfig
from .tables import check_images

TRAIN, TEST = "train-images-idx3-ubyte", "t10k-images-idx3-ubyte"


def find_idx(folder: Path, name: str) -> Path | None:
    """The idx file of this name anywhere under a folder, with `-` or `.` before `idx`, gzipped or not, or None."""
    names = {stem + ending for stem in (name, name.replace("-idx", ".idx")) for ending in ("", ".gz")}
    if not folder.is_dir():
        return None
    return next((path for path in sorted(folder.rglob("*")) if path.name in names and path.is_file()), None)


class IdxImages(Downloaded):
    """Base class of image datasets in idx files. A subclass gives `remote`, by the names of the idx files."""

    kind = "image"
    levels = 256
    logit_alpha = 1e-6
    system_folders: ClassVar[tuple[str, ...]] = ()
    """Glob patterns of the folders in which operating systems install the files."""

    class Config(SplitConfig):
        """The folder of the files, and how the training file is split."""

        folder: str = Field("", description="folder with the idx files, if not the cache or a system folder")
        n_valid: int = Field(5_000, ge=2, description="training images held back for validation")

    def _file(self, name: str) -> Path:
        """The idx file, from the option `folder` alone if it is set, else from a system folder or the cache."""
        if self.config.folder:
            found = find_idx(Path(self.config.folder).expanduser(), name)
            if found is None:
                raise trilemma.DataError(f"dataset '{self.name}': no {name} or {name}.gz in {self.config.folder}")
            return found
        kept = (find_idx(Path(folder), name) for pattern in self.system_folders for folder in sorted(glob(pattern)))
        return next((path for path in kept if path), None) or cached(self.remote[name])

    def load(self) -> trilemma.Splits:
        """Load the splits. Raises DataError if the files are absent or damaged."""
        images = {}
        for name in (TRAIN, TEST):
            path = self._file(name)
            images[name] = torch.from_numpy(check_images(read_idx(path), str(path), 2))
        n = len(images[TRAIN])
        if self.config.n_valid > n - 2:
            raise trilemma.DataError(
                f"dataset '{self.name}': n_valid={self.config.n_valid} is too large for {n} training images"
            )
        order = torch.from_numpy(self.config.permutation(n))
        train, valid = torch.split(images[TRAIN][order], [n - self.config.n_valid, self.config.n_valid])
        return trilemma.Splits(train, valid, images[TEST])


def _remote(folder: str, bases: tuple[str, ...], train_md5: str, test_md5: str) -> dict[str, RemoteFile]:
    return {
        name: RemoteFile(f"{folder}/{name}.gz", tuple(f"{base}{name}.gz" for base in bases), f"md5:{md5}")
        for name, md5 in ((TRAIN, train_md5), (TEST, test_md5))
    }


class Mnist(IdxImages):
    """MNIST: 70,000 handwritten digits of 28 x 28 pixels with 256 intensity levels.

    By default, 5,000 training images are held back for validation.
    """

    name = "mnist"
    title = "MNIST"
    source = "LeCun, Cortes and Burges, by torchvision's mirror"
    license = "CC BY-SA 3.0"
    citation = "LeCun et al. 1998, Gradient-based learning applied to document recognition"

    @property
    def remote(self) -> dict[str, RemoteFile]:
        bases = (
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        )
        return _remote("mnist", bases, "f68b3c2dcbeaaa9fbdd348bbdeb94873", "9fb629c4189551a2d022fa330f9573f3")


class FashionMnist(IdxImages):
    """Fashion-MNIST: 70,000 images of clothes of 28 x 28 pixels with 256 intensity levels.

    By default, 5,000 training images are held back for validation. The files come from the option `folder`, from the
    Debian package dataset-fashion-mnist, or from the cache.
    """

    name = "fashion-mnist"
    title = "Fashion-MNIST"
    source = "Zalando Research"
    license = "MIT"
    citation = "Xiao et al. 2017, Fashion-MNIST: a novel image dataset for benchmarking machine learning algorithms"
    system_folders = ("/usr/share/datasets/*fashion-mnist*",)

    @property
    def remote(self) -> dict[str, RemoteFile]:
        bases = ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",)
        return _remote("fashion-mnist", bases, "8d4fb7e6c68d591d4c3dfef9ec88bf0d", "bef4ecab320f06d8554ea6380940ec79")


class Kmnist(IdxImages):
    """KMNIST: 70,000 cursive Japanese characters of 28 x 28 pixels with 256 intensity levels.

    By default, 5,000 training images are held back for validation.
    """

    name = "kmnist"
    title = "KMNIST"
    source = "Center for Open Data in the Humanities"
    license = "CC BY-SA 4.0"
    citation = "Clanuwat et al. 2018, Deep learning for classical Japanese literature"

    @property
    def remote(self) -> dict[str, RemoteFile]:
        bases = ("http://codh.rois.ac.jp/kmnist/dataset/kmnist/",)
        return _remote("kmnist", bases, "bdb82020997e1d708af4cf47b453dcf7", "5c965bf0a639b31b8f53240b1b52f4d7")
