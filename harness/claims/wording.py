"""The words for a verdict: one sentence that says what was found and what would decide."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

VERDICTS = ("reproduced", "contradicted", "inconclusive", "not run")
CHECKED = {
    "": "not checked",
    "abstract": "the claim was checked in the abstract, its place was not",
    "full text": "checked in the full text",
    "secondary source": "checked in what others quote from the paper",
}
"""What each value of `checked` says of a claim and its place."""


def claim_source(record: Mapping[str, Any]) -> str:
    """The paper, the place, and whether they were checked, such as `Ho et al. 2020, section 3.2 (not checked)`."""
    return f"{record['citation']}, {record['place']} ({CHECKED[record['checked']]})"


def claim_tally(records: Sequence[Mapping[str, Any]]) -> str:
    """How many claims have each verdict, such as `12 reproduced, 3 contradicted`."""
    counts = Counter(record["verdict"] for record in records)
    return ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS if counts[verdict])


def claim_finding(record: Mapping[str, Any]) -> str:
    """What was found for a claim, in one line."""
    if record["verdict"] == "not run":
        return str(record["why"])
    parts = [_compared(part) for part in record["comparisons"] if "a" in part]
    parts += [] if record["p"] is None else [f"p = {record['p']:.2g}, adjusted {record['adjusted']:.2g}"]
    if record["verdict"] == "inconclusive":
        parts.append(outlook(record))
    return "; ".join(part for part in parts if part)


def outlook(record: Mapping[str, Any]) -> str:
    """What would decide a claim that is inconclusive."""
    if record["tied"]:
        return "a difference of the size of interest is excluded, so that more seeds would not decide"
    if record["needed"] is None:
        return "no feasible number of seeds would decide"
    return f"about {record['needed']} seeds would decide"


def _compared(part: Mapping[str, Any]) -> str:
    a, b = part["a"], part["b"]
    name = a["metric"] if a["metric"] == b["metric"] else f"{a['metric']} / {b['metric']}"
    estimate, low, high = (f"{part[key]:.3g}" for key in ("estimate", "low", "high"))
    what = "ratio" if part["scale"] == "ratio" else "difference"
    return f"{name}: {what} {estimate} ({low} to {high}), expected {part['expect']}"
