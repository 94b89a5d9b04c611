"""About how long a run will take, before it starts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ...planning.shards import select
from ..progress import Todo
from ..timing import expected_seconds
from .estimates import Estimates

if TYPE_CHECKING:
    from ..run import Runner


def expected_run_seconds(runner: Runner, todo: Iterable[Todo]) -> float:
    """About how many seconds a planned run will take: its cells, as many at a time as it has jobs, and the timing.

    It is estimated from the cells of the directory that have ended, and otherwise from the budget.
    """
    items = [item for item in todo if not item.cell.data_error]
    estimates = Estimates.from_store(runner.store, select(runner.suite_cells, runner.shard))
    cells = [item for item in items if item.in_cell]
    return estimates.remaining(cells, (), runner.jobs or 1) + expected_seconds(runner.resolved.suite.timing, items)
