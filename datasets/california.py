"""The California housing table."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

import trilemma

from .archives import extracted
from .download import Downloaded, RemoteFile
from .splitting import SplitConfig, parts
from .tables import check_table

ARCHIVE = RemoteFile(
    "california-housing/cal_housing.tgz",
    ("https://ndownloader.figshare.com/files/5976036",),
    "sha256:aaa5c9a6afe2225cc2aed2723682ae403280c4a3695a2ddda4ffb5d8215ea681",
)


def features(raw: NDArray[np.float64]) -> NDArray[np.float64]:
    """The eight features `(n, 8)` of scikit-learn's fetcher, from the stored columns `(n, 9)`.

    The features are income, age, rooms per household, bedrooms per household, population, people per household,
    latitude and longitude. The stored columns are longitude, latitude, age, rooms, bedrooms, population, households,
    income and value.
    """
    longitude, latitude, age, rooms, bedrooms, population, households, income, _ = raw.T
    per_household = (rooms / households, bedrooms / households, population, population / households)
    return np.stack([income, age, *per_household, latitude, longitude], 1)


class CaliforniaHousing(Downloaded):
    """California housing: 20,640 districts of California in the 1990 census, with 8 coordinates.

    The house value is left out. Ages are whole years and end in an atom at 52, so the likelihood is unbounded in
    principle. The rows are split by a permutation into 70 % training, 10 % validation and 20 % test rows.
    """

    name = "california-housing"
    title = "California housing"
    source = "StatLib, by scikit-learn's mirror on figshare"
    license = "CC BY 4.0"
    citation = "Pace and Barry 1997, Sparse spatial autoregressions"

    class Config(SplitConfig):
        """The seed of the split."""

    @property
    def remote(self) -> dict[str, RemoteFile]:
        return {"archive": ARCHIVE}

    def load(self) -> trilemma.Splits:
        """Load the splits. Raises DataError if the archive is absent or damaged."""
        (path,) = extracted(ARCHIVE, ("CaliforniaHousing/cal_housing.data",))
        try:
            raw = np.loadtxt(path, delimiter=",", ndmin=2)
        except ValueError as error:
            raise trilemma.DataError(f"{path}: not a table of numbers ({error})") from error
        x = check_table(features(raw), str(path), 10)
        n_valid, n_test = len(x) // 10, len(x) // 5
        return parts(torch.from_numpy(x[self.config.permutation(len(x))]), n_valid, n_test)
