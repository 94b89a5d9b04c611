"""The simulated error rates of the verdicts: registries of claims, true, false and empty, from planted numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from trilemma.harness.analysis.moderated import Arms
from trilemma.harness.claims.evidence import Evidence, Expect, Verdict, conjunction, decide, difference, weigh

CLAIMS = 40
INTEREST = 0.1


@dataclass
class Planted:
    """A claim whose truth is known: the true difference of its first two arms, in the direction that it claims."""

    true: float
    expect: Expect = "lower"

    @property
    def right(self) -> set[Verdict]:
        """The verdicts that are not false."""
        if self.expect == "equal":
            return {"inconclusive", "reproduced" if abs(self.true) < INTEREST else "contradicted"}
        if self.true == 0:
            return {"inconclusive"}
        return {"inconclusive", "reproduced" if self.true > 0 else "contradicted"}


def evidence(claim: Planted, rng: np.random.Generator, seeds: int, comparisons: int = 1) -> Evidence:
    """Draw the numbers of a claim: up to five arms, whose deviations differ, and the arms of all its comparisons."""
    parts = []
    for _ in range(comparisons):
        arms = int(rng.integers(2, 6))
        deviations = 0.15 * np.exp(0.5 * rng.normal(size=arms))
        values = [rng.normal(0.0, s, seeds) for s in deviations]
        values[0] = values[0] - claim.true
        table = Arms(values, np.zeros(arms))
        parts.append(weigh(difference(table, 0, 1), claim.expect, INTEREST, 0.05 / 2 / CLAIMS))
    return conjunction(parts)


def rates(planted: list[Planted], replicates: int, seeds: int, seed: int = 0) -> tuple[float, float, float]:
    """The share of registries with a false verdict, the mean share of false among verdicts, and the power."""
    rng = np.random.default_rng(seed)
    any_false, shares, seen = 0, [], 0
    for _ in range(replicates):
        found: list[Evidence | None] = [evidence(claim, rng, seeds, 1 + i % 2) for i, claim in enumerate(planted)]
        verdicts = decide(found)
        made = [(v, claim) for v, claim in zip(verdicts, planted, strict=True) if v != "inconclusive"]
        false = sum(v not in claim.right for v, claim in made)
        any_false += false > 0
        shares.append(false / max(len(made), 1))
        seen += sum(v in claim.right for v, claim in made)
    real = sum(claim.true != 0 or claim.expect == "equal" for claim in planted)
    return any_false / replicates, float(np.mean(shares)), seen / max(real * replicates, 1)


def empty() -> list[Planted]:
    return [Planted(0.0) for _ in range(CLAIMS)]


def mixed(size: float) -> list[Planted]:
    """A quarter true claims, a quarter false ones, a quarter empty, and claims of equality, half of them true."""
    quarter = CLAIMS // 4
    return [
        *(Planted(size) for _ in range(quarter)),
        *(Planted(-size) for _ in range(quarter)),
        *(Planted(0.0) for _ in range(quarter)),
        *(Planted(0.0, "equal") for _ in range(quarter // 2)),
        *(Planted(size, "equal") for _ in range(quarter // 2)),
    ]


def test_empty_comparisons_are_inconclusive() -> None:
    false, _, _ = rates(empty(), 30, 5)
    assert false <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 30)


def test_planted_claims_get_their_verdicts() -> None:
    _, false, power = rates(mixed(1.0), 10, 5)
    assert false <= 0.05
    assert power > 0.6


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [5, 10])
def test_false_verdicts_are_at_most_five_percent(seeds: int) -> None:
    """The figures are those of the documentation."""
    noise = 2 * np.sqrt(0.05 * 0.95 / 1500)
    assert rates(empty(), 1500, seeds)[0] <= 0.05 + noise
    for size in (0.1, 0.3, 1.0):
        assert rates(mixed(size), 300, seeds)[1] <= 0.05
