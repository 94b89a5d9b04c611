"""What other machines have measured: numbers that stand beside an arena and are not ranked in it, in records and words.

A number that depends on a machine is compared with numbers of the same machine only. Two kinds of rows stand apart:
times that were measured on another machine, and everything of a training on another machine within a budget in seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .arenas import ARENA, Arena, names

Verdict = dict[str, Any]
_ALIKE = [key for key in ARENA if key not in ("trained_on", "machine")]

TRAINED = "trained on another machine within the same seconds"
TIMED = "timed on another machine"


def alike(arena: Arena) -> tuple[Any, ...]:
    """What an arena has in common with those that only the machine keeps apart from it."""
    return tuple(arena.key[key] for key in _ALIKE)


def elsewhere(arena: Arena, judged: Sequence[Arena]) -> list[dict[str, str]]:
    """The rows that only the machine keeps out of an arena: label, sampler, `machine` and `trained_on`."""
    return [
        {**line, "machine": other.key["machine"], "trained_on": other.key["trained_on"]}
        for other in judged
        if other is not arena and alike(other) == alike(arena)
        for line in names(other, other.rows)
    ]


def not_ranked_with(verdict: Verdict, listing: Callable[[Sequence[str]], str]) -> str:
    """A sentence that names the rows which only the machine keeps apart from those of a verdict; "" without any.

    `listing` puts names into a sentence.
    """
    parts = []
    for why, lines in ((TRAINED, _trained(verdict)), (TIMED, _timed(verdict))):
        if lines:
            where = listing(list(dict.fromkeys(line["trained_on" if why == TRAINED else "machine"] for line in lines)))
            parts.append(f"{why} ({where}) and not ranked with these: {listing(list(map(_name, lines)))}")
    return "; ".join(parts)


def other_machines(verdicts: Sequence[Verdict], listing: Callable[[Sequence[str]], str]) -> list[tuple[str, str]]:
    """Headings and sentences on rows of other machines, for the answers of one dataset, budget and device."""
    lines = []
    trained: dict[str, list[str]] = {}
    for verdict in verdicts:
        for line in _trained(verdict):
            trained.setdefault(line["trained_on"], []).append(line["label"])
    if trained:
        lines.append((f"T{TRAINED[1:]}, not ranked with these", _by_machine(trained, listing)))
    timed: dict[str, dict[str, list[str]]] = {}
    for verdict in verdicts:
        if _timed(verdict):
            of = timed.setdefault(verdict["title"], {})
            of.setdefault(verdict["machine"], []).extend(map(_name, verdict["lines"]))
    lines += [
        (f"{title} from several machines, ranked within each", _by_machine(of, listing)) for title, of in timed.items()
    ]
    return lines


def measured_on(verdict: Verdict) -> str:
    """For a heading: the machine of a time, if there are times of others; "" otherwise."""
    return f", timed on {verdict['machine']}" if _timed(verdict) else ""


def _trained(verdict: Verdict) -> list[dict[str, str]]:
    return [line for line in verdict.get("elsewhere", ()) if line["trained_on"] != verdict["trained_on"]]


def _timed(verdict: Verdict) -> list[dict[str, str]]:
    return [line for line in verdict.get("elsewhere", ()) if line["trained_on"] == verdict["trained_on"]]


def _by_machine(of: dict[str, list[str]], listing: Callable[[Sequence[str]], str]) -> str:
    return "; ".join(f"{machine or 'unknown machine'}: {listing(found)}" for machine, found in of.items())


def _name(line: dict[str, str]) -> str:
    return f"{line['label']} [{line['sampler']}]" if line["sampler"] else line["label"]
