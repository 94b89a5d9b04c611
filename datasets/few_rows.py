"""How many rows a table needs: what the quality verdict can tell with so many test rows, as it was measured."""

from __future__ import annotations

TOLD = {10: 0.10, 20: 0.20, 40: 0.27, 100: 0.80, 200: 0.97}
"""Test rows, and in which share of simulated tables a model that had lost one of five clusters was told from the truth.

The mean over tables of 2, 8 and 20 columns; `tests/plugins/metrics/test_metrics_rows.py` measures it.
"""

ENOUGH_TEST_ROWS = 200
"""Test rows from which on nothing is said: nearly all of the planted defects are then found."""


def few_rows(n_test: int) -> list[str]:
    """A warning if the verdict can tell little with so many test rows, else nothing."""
    if n_test >= ENOUGH_TEST_ROWS:
        return []
    most = max((n for n in TOLD if n <= n_test), default=min(TOLD))
    return [
        f"{n_test:,} test rows decide little: in simulated tables with {most} test rows, a model that had lost a fifth "
        f"of the data was told from the true distribution in {TOLD[most]:.0%} of the cases, and with "
        f"{ENOUGH_TEST_ROWS} in {TOLD[ENOUGH_TEST_ROWS]:.0%}; these are {5 * ENOUGH_TEST_ROWS:,} rows if a fifth "
        "of them is for the test"
    ]
