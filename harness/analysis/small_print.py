"""The small print of the answers: what is on a front, what is not ranked, and why."""

from __future__ import annotations

from collections.abc import Sequence

from .machines import other_machines
from .moderated import LEAST_SEEDS
from .verdicts import Verdict
from .wording import listing, name

_SURE = 0.995  # a share of resamples that is as good as all


def small_print(verdicts: Sequence[Verdict]) -> list[tuple[str, str]]:
    """Headings and sentences on fronts, failed seeds, other machines and marked rows, of one dataset and budget."""
    costs = [verdict for verdict in verdicts if verdict["criterion"].startswith("cost:")]
    lines: list[tuple[str, str]] = []
    for verdict in costs:
        front = [f"{name(line)}" + (f" ({line['share']:.0%})" if line["share"] < _SURE else "")
                 for line in verdict.get("front", ())]  # fmt: skip
        if len(front) > 1:
            lines.append((f"Front of quality and {verdict['title']}", listing(front)))
    if fewer := _fewer_seeds(verdicts):
        lines.append(("Fewer seeds than others", listing(fewer)))
    apart = [name(line) for verdict in verdicts for line in verdict["apart"]]
    if apart:
        lines.append(("Other numbers of points, not ranked", listing(apart)))
    lines += other_machines(verdicts, listing)
    if marked := _marked(verdicts):
        lines.append(("Marked and not ranked", listing(marked)))
    return lines


def _fewer_seeds(verdicts: Sequence[Verdict]) -> list[str]:
    """Models with a number from fewer seeds than other models have, because runs failed."""
    fewer: dict[str, tuple[int, int]] = {}
    for verdict in verdicts:
        for line in verdict["lines"]:
            missing = line["seeds"] < verdict["seeds"] and not line["control"]
            if missing and not verdict["criterion"].startswith("cost:"):
                found = (int(line["seeds"]), int(verdict["seeds"]))
                fewer[line["label"]] = min(fewer.get(line["label"], found), found)
    return [
        f"{label} ({seeds} of {of}{', not ranked' if seeds < LEAST_SEEDS else ''})"
        for label, (seeds, of) in fewer.items()
        if of >= LEAST_SEEDS
    ]


def _marked(verdicts: Sequence[Verdict]) -> list[str]:
    """What is marked: the name of a model if all its rows are, else its sampler settings or its likelihood."""
    rows: dict[str, dict[str, bool]] = {}
    for verdict in verdicts:
        for line in verdict["lines"]:
            own = rows.setdefault(line["label"], {})
            own[line["sampler"]] = own.get(line["sampler"], False) or line["marked"]
    names = []
    for label, settings in rows.items():
        marked = [sampler for sampler, flag in settings.items() if flag]
        if marked and len(marked) == len(settings):
            names.append(label)
        else:
            names += [f"{label} [{sampler or 'likelihood'}]" for sampler in marked]
    return names
