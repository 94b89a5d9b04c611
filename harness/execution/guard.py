"""The check that a metric leaves the data as it was."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from ..contracts.dataset import Dataset, content_hash
from ..errors import PluginError


class DataGuard:
    """Watches the splits of a loaded dataset, and restores them when something has changed them.

    The content is hashed again each time, because writes through NumPy leave no trace in a tensor. `load` loads the
    dataset again.
    """

    def __init__(self, dataset: Dataset, load: Callable[[], Dataset]) -> None:
        self._dataset, self._splits, self._load = dataset, dataset.splits, load
        self._hash = dataset.checksum

    @contextlib.contextmanager
    def watch(self, metric: str) -> Iterator[None]:
        """Raise PluginError if the code inside the block has changed the data or tried to, with the data restored."""
        failure: BaseException | None = None
        try:
            yield
        except BaseException as error:  # raised again below
            failure = error
        # NumPy raises a ValueError for a write to a read-only array.
        tried = isinstance(failure, ValueError) and "read-only" in str(failure)
        if self._restored() or tried:
            raise PluginError(
                f"metric '{metric}' changed the data that it was given; work on a copy"
                + (f" ({failure})" if tried else "")
            ) from failure
        if failure is not None:
            raise failure

    def _restored(self) -> bool:
        """Whether the data had changed. It is then restored, in the tensors that others refer to."""
        replaced = self._dataset.splits is not self._splits
        self._dataset.__dict__["splits"] = self._splits
        if content_hash(self._splits) == self._hash:
            return replaced
        fresh = self._load().splits
        for name in ("train", "valid", "test"):
            getattr(self._splits, name).data = getattr(fresh, name)
        return True
