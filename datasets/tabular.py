"""The five tabular datasets of the MAF paper, prepared as in its code (Papamakarios et al. 2017, appendix D)."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
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
    """Split rows into train, validation and test parts: the last tenth is for test, the last tenth of the rest for
    validation.
    """
    rest, test = x[: -int(0.1 * len(x))], x[-int(0.1 * len(x)) :]
    n_valid = int(0.1 * len(rest))
    return rest[:-n_valid], rest[-n_valid:], test


def standardized(train: Array, valid: Array, test: Array) -> tuple[Array, Array, Array]:
    """All parts, standardized with the mean and standard deviation of train and validation rows together."""
    fitted = np.concatenate([train, valid])
    mean, scale = fitted.mean(0), fitted.std(0)
    return (train - mean) / scale, (valid - mean) / scale, (test - mean) / scale


def power(raw: Array) -> tuple[Array, Array, Array]:
    """Prepare POWER: shuffle the rows, drop columns 3 and 1, and add uniform noise of the resolution of the meters.

    The column of the time gets no noise.
    """
    rng = np.random.RandomState(42)
    x = raw.copy()
    rng.shuffle(x)
    x = np.delete(x, [1, 3], axis=1)
    voltage, active_power, sub_meters = 0.01 * rng.rand(len(x), 1), 0.001 * rng.rand(len(x), 1), rng.rand(len(x), 3)
    noise = np.hstack([active_power, voltage, sub_meters, np.zeros((len(x), 1))])
    return standardized(*last_tenths(x + noise))


def gas(columns: dict[str, Array]) -> tuple[Array, Array, Array]:
    """Prepare GAS: drop concentrations and time, then drop columns that correlate above 0.98 with another one.

    As in the code of the paper, the columns are standardized with all rows, including test rows, and the rows are not
    shuffled.
    """
    import pandas as pd

    frame = pd.DataFrame({name: column for name, column in columns.items() if name not in ("Meth", "Eth", "Time")})
    while (crowded := (frame.corr() > 0.98).sum(axis=1).to_numpy() > 1).any():
        frame = frame.drop(columns=frame.columns[int(np.argmax(crowded))])
    x = frame.to_numpy(dtype=np.float64)
    return last_tenths((x - x.mean(0)) / x.std(0, ddof=1))


def hepmass(train_file: Array, test_file: Array) -> tuple[Array, Array, Array]:
    """Prepare HEPMASS: keep the signal rows (label 1), without the label, and standardize with the training file.

    The extra last column of the test file is dropped, and so are features whose smallest value occurs more than five
    times in the training file.
    """
    train, test = train_file[train_file[:, 0] == 1, 1:], test_file[test_file[:, 0] == 1, 1:-1]
    mean, scale = train.mean(0), train.std(0, ddof=1)
    kept = (train == train.min(0)).sum(0) <= 5
    train, test = ((train - mean) / scale)[:, kept], ((test - mean) / scale)[:, kept]
    n_valid = int(0.1 * len(train))
    return train[:-n_valid], train[-n_valid:], test


def miniboone(raw: Array) -> tuple[Array, Array, Array]:
    """Prepare MINIBOONE: split the rows in their order, and standardize with train and validation rows."""
    return standardized(*last_tenths(raw))


class Tabular(Downloaded):
    """Base class of datasets in the MAF archive. A subclass gives `members` and `prepare`."""

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
        """Load the splits. Raises DataError if the archive is absent or damaged."""
        parts = self.prepare(extracted(ARCHIVE, self.members))
        return trilemma.Splits(*(torch.from_numpy(check_table(part, self.name, 2)) for part in parts))


class Power(Tabular):
    """POWER: household electric power with 6 coordinates, and uniform noise of the resolution of the meters.

    The time stays in whole minutes, so one column has atoms and the likelihood is unbounded in principle.
    """

    name = "power"
    title = "POWER"
    license = "CC BY 4.0 (UCI)"
    members = ("data/power/data.npy",)

    def prepare(self, files: list[Path]) -> tuple[Array, Array, Array]:
        return power(read_array(files[0]).astype(np.float64))


class Gas(Tabular):
    """GAS: gas sensors in a mixture of ethylene and CO, with 8 coordinates.

    It is a time series that is not shuffled, so validation and test rows are later in time. As in the code of the
    paper, it is standardized with all rows, including test rows.
    """

    name = "gas"
    title = "GAS"
    license = "CC BY 4.0 (UCI)"
    members = ("data/gas/ethylene_CO.pickle",)

    def prepare(self, files: list[Path]) -> tuple[Array, Array, Array]:
        return gas(read_pickled_frame(files[0]))


class Hepmass(Tabular):
    """HEPMASS: signal events of simulated particle collisions, with 21 coordinates.

    Features with repeated values are left out.
    """

    name = "hepmass"
    title = "HEPMASS"
    license = "CC BY 4.0 (UCI)"
    members = ("data/hepmass/1000_train.csv", "data/hepmass/1000_test.csv")

    def prepare(self, files: list[Path]) -> tuple[Array, Array, Array]:
        import pandas as pd

        train, test = (pd.read_csv(path, index_col=False).to_numpy(dtype=np.float64) for path in files)
        return hepmass(train, test)


class Miniboone(Tabular):
    """MINIBOONE: electron-neutrino events, with 43 coordinates.

    Some columns have atoms, so the likelihood is unbounded in principle.
    """

    name = "miniboone"
    title = "MINIBOONE"
    license = "CC BY 4.0 (UCI)"
    members = ("data/miniboone/data.npy",)

    def prepare(self, files: list[Path]) -> tuple[Array, Array, Array]:
        return miniboone(read_array(files[0]).astype(np.float64))


class Bsds300(Tabular):
    """BSDS300: gray 8 x 8 patches of the Berkeley segmentation images, with 63 coordinates, as in the archive."""

    name = "bsds300"
    title = "BSDS300"
    license = "non-commercial research (Berkeley)"
    members = ("data/BSDS300/BSDS300.hdf5",)

    def prepare(self, files: list[Path]) -> tuple[Array, Array, Array]:
        """The stored rows. Raises DataError if h5py is not installed."""
        with optional("h5py", "h5py", self.name).File(files[0], "r") as stored:
            train, valid, test = (np.asarray(stored[part]) for part in ("train", "validation", "test"))
        return train, valid, test
