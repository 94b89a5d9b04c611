"""The five tabular sets of the MAF paper, prepared as its code does (Papamakarios et al. 2017, appendix D)."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

import trilemma

from .archives import extracted
from .download import Downloaded, RemoteFile
from .extras import optional
from .frames import read_pickled_frame
from .tables import check_table, read_array

Array = NDArray[np.float64]

ARCHIVE = RemoteFile(
    "maf/data.tar.gz",
    ("https://zenodo.org/records/1161203/files/data.tar.gz",),
    "md5:9b9c9b0375315ad270eba4ce80c093ab",
)


def last_tenths(x: Array) -> tuple[Array, Array, Array]:
    """Train, validation and test rows: the last tenth for test, the last tenth of the rest for validation."""
    rest, test = x[: -int(0.1 * len(x))], x[-int(0.1 * len(x)) :]
    n_valid = int(0.1 * len(rest))
    return rest[:-n_valid], rest[-n_valid:], test


def standardized(train: Array, valid: Array, test: Array) -> tuple[Array, Array, Array]:
    """All parts less the mean and over the deviation of train and validation together."""
    fitted = np.concatenate([train, valid])
    mean, scale = fitted.mean(0), fitted.std(0)
    return (train - mean) / scale, (valid - mean) / scale, (test - mean) / scale


def power(raw: Array) -> tuple[Array, Array, Array]:
    """Rows shuffled; columns 3 and 1 dropped; uniform noise of the meters' resolution on all but the time."""
    rng = np.random.RandomState(42)
    x = raw.copy()
    rng.shuffle(x)
    x = np.delete(x, [1, 3], axis=1)
    voltage, active_power, sub_meters = 0.01 * rng.rand(len(x), 1), 0.001 * rng.rand(len(x), 1), rng.rand(len(x), 3)
    noise = np.hstack([active_power, voltage, sub_meters, np.zeros((len(x), 1))])
    return standardized(*last_tenths(x + noise))


def gas(columns: dict[str, Array]) -> tuple[Array, Array, Array]:
    """Concentrations and time dropped; then the first column that correlates above 0.98 with another, until none does.

    Standardized with all rows, test included, and not shuffled, as in the paper's code.
    """
    frame = pd.DataFrame({name: column for name, column in columns.items() if name not in ("Meth", "Eth", "Time")})
    while (crowded := (frame.corr() > 0.98).sum(axis=1).to_numpy() > 1).any():
        frame = frame.drop(columns=frame.columns[int(np.argmax(crowded))])
    x = frame.to_numpy(dtype=np.float64)
    return last_tenths((x - x.mean(0)) / x.std(0, ddof=1))


def hepmass(train_file: Array, test_file: Array) -> tuple[Array, Array, Array]:
    """Signal rows (label 1) without the label; the test file's extra last column dropped; standardized with the
    training file; features whose smallest value appears there more than five times dropped.
    """
    train, test = train_file[train_file[:, 0] == 1, 1:], test_file[test_file[:, 0] == 1, 1:-1]
    mean, scale = train.mean(0), train.std(0, ddof=1)
    kept = (train == train.min(0)).sum(0) <= 5
    train, test = ((train - mean) / scale)[:, kept], ((test - mean) / scale)[:, kept]
    n_valid = int(0.1 * len(train))
    return train[:-n_valid], train[-n_valid:], test


def miniboone(raw: Array) -> tuple[Array, Array, Array]:
    """As stored, standardized with train and validation."""
    return standardized(*last_tenths(raw))


class Tabular(Downloaded):
    """A set of the MAF archive: give `members` and `prepare`."""

    citation = "Papamakarios et al. 2017, Masked autoregressive flow for density estimation"
    source = "doi:10.5281/zenodo.1161203"
    members: ClassVar[tuple[str, ...]]

    @property
    def remote(self) -> dict[str, RemoteFile]:
        return {"archive": ARCHIVE}

    def prepare(self, files: list[Path]) -> tuple[Array, Array, Array]:
        """Train, validation and test rows from the extracted members."""
        raise NotImplementedError

    def load(self) -> trilemma.Splits:
        """Raises DataError where the archive is absent or damaged."""
        parts = self.prepare(extracted(ARCHIVE, self.members))
        return trilemma.Splits(*(torch.from_numpy(check_table(part, self.name, 2)) for part in parts))


class Power(Tabular):
    """Household electric power, 6 coordinates, with uniform noise of the meters' resolution; the time is left as it
    is, in minutes, so that one column has atoms and the likelihood is unbounded in principle.
    """

    name = "power"
    title = "POWER"
    license = "CC BY 4.0 (UCI)"
    members = ("data/power/data.npy",)

    def prepare(self, files: list[Path]) -> tuple[Array, Array, Array]:
        return power(read_array(files[0]).astype(np.float64))


class Gas(Tabular):
    """Gas sensors in a mixture of ethylene and CO, 8 coordinates. A time series, not shuffled: validation and test
    rows are later in time. Standardized with all rows, test included, as in the paper's code.
    """

    name = "gas"
    title = "GAS"
    license = "CC BY 4.0 (UCI)"
    members = ("data/gas/ethylene_CO.pickle",)

    def prepare(self, files: list[Path]) -> tuple[Array, Array, Array]:
        return gas(read_pickled_frame(files[0]))


class Hepmass(Tabular):
    """Signal events of simulated particle collisions, 21 coordinates; features with repeated values are left out."""

    name = "hepmass"
    title = "HEPMASS"
    license = "CC BY 4.0 (UCI)"
    members = ("data/hepmass/1000_train.csv", "data/hepmass/1000_test.csv")

    def prepare(self, files: list[Path]) -> tuple[Array, Array, Array]:
        train, test = (pd.read_csv(path, index_col=False).to_numpy(dtype=np.float64) for path in files)
        return hepmass(train, test)


class Miniboone(Tabular):
    """Electron-neutrino events, 43 coordinates. Some columns have atoms, on which the likelihood is unbounded in
    principle.
    """

    name = "miniboone"
    title = "MINIBOONE"
    license = "CC BY 4.0 (UCI)"
    members = ("data/miniboone/data.npy",)

    def prepare(self, files: list[Path]) -> tuple[Array, Array, Array]:
        return miniboone(read_array(files[0]).astype(np.float64))


class Bsds300(Tabular):
    """Gray 8 x 8 patches of the Berkeley segmentation images as 63 coordinates, as stored in the archive."""

    name = "bsds300"
    title = "BSDS300"
    license = "non-commercial research (Berkeley)"
    members = ("data/BSDS300/BSDS300.hdf5",)

    def prepare(self, files: list[Path]) -> tuple[Array, Array, Array]:
        """Raises DataError where h5py is not installed."""
        with optional("h5py", "h5py", self.name).File(files[0], "r") as stored:
            train, valid, test = (np.asarray(stored[part]) for part in ("train", "validation", "test"))
        return train, valid, test
