"""Points in a CSV file: a row for each point, a column for each coordinate, with or without a header."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..errors import DataError


def read_csv(file: Path) -> NDArray[np.float64]:
    """The numbers in a CSV file, shape `(n, d)`. Raises DataError that names the place of what is no number."""
    try:
        frame = pd.read_csv(file, header=None, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except pd.errors.EmptyDataError:
        raise DataError(f"{file} is empty") from None
    except (OSError, ValueError) as error:  # pandas raises subclasses of ValueError for rows of another length
        raise DataError(f"{file} cannot be read: {str(error).strip()}") from None
    texts: NDArray[Any] = frame.to_numpy()
    numbers: NDArray[np.float64] = np.column_stack(
        [pd.to_numeric(frame[column], errors="coerce").to_numpy(np.float64) for column in frame]
    )
    named = int(np.isnan(numbers[0]).any())  # the first row is a header
    wrong = np.argwhere(np.isnan(numbers[named:]))
    if len(wrong):
        row, column = int(wrong[0][0]) + named, int(wrong[0][1])
        name = f"'{texts[0, column]}'" if named else str(column + 1)
        raise DataError(f"{file}, line {row + 1}, column {name}: '{texts[row, column]}' is not a number")
    if len(numbers) == named:
        raise DataError(f"{file} holds no points")
    return numbers[named:]
