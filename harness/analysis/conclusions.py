"""Verdicts in sentences that a reader can quote; the same in every output."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from .arenas import CONTENDED
from .machines import measured_on, not_ranked_with, other_machines
from .moderated import LEAST_SEEDS
from .verdicts import Verdict

TINY = 1e-6
_SURE = 0.995  # a share of resamples that is as good as all
_CROWD = 6  # most names in a sentence


def conclusions(verdicts: Sequence[Verdict], kinds: dict[str, str] | None = None) -> list[tuple[str, str]]:
    """The conclusions of one dataset, budget, device and `trained_on` as pairs of a heading and a sentence, in order.

    Controls that beat every model come first. `kinds` are titles of likelihood kinds.
    """
    by_name = {verdict["criterion"]: verdict for verdict in verdicts}
    lines: list[tuple[str, str]] = []
    quality = by_name.get("quality")
    for verdict in verdicts:
        if verdict["controls_ahead"] and not verdict["criterion"].startswith("cost:"):
            what = _subject(verdict, kinds)
            controls = verdict["controls_ahead"]
            beat = "beats" if len(controls) == 1 else "beat"
            lines.append((f"Controls ahead in {what}", f"{listing(controls)} {beat} every model here"))
    for verdict in verdicts:
        if verdict["criterion"] in ("quality", "coverage"):
            lines += _best(verdict, f"Best {verdict['criterion']}")
            if verdict is quality:
                lines += _cheapest([v for v in verdicts if v["criterion"].startswith("cost:")])
    for verdict in verdicts:
        if verdict["criterion"].startswith("likelihood:"):
            lines += _best(verdict, f"Best {_subject(verdict, kinds)}")
    if quality is not None and quality["controls_level"]:
        lines.append(("No better than a control", f"the best model is not told apart from "
                      f"{listing(quality['controls_level'])}"))  # fmt: skip
    if quality is not None and quality["resolution"] is not None:
        seen = number(quality["resolution"])
        what = f"a factor of {seen}" if quality["scale"] == "ratio" else f"a difference of {seen}"
        seeds = quality["seeds"]
        lines.append(("Resolution", f"with {seeds} seeds, {what} in quality is told apart in about half of the cases"))
    if fewer := _fewer_seeds(verdicts):
        lines.append(("Fewer seeds than others", listing(fewer)))
    apart = [_name(line) for verdict in verdicts for line in verdict["apart"]]
    if apart:
        lines.append(("Other numbers of points, not ranked", listing(apart)))
    lines += other_machines(verdicts, listing)
    if marked := _marked(verdicts):
        lines.append(("Marked and not ranked", listing(marked)))
    return lines


def number(value: float, digits: int = 3) -> str:
    """A number in at most `digits` significant digits. Numbers too small to mean anything are `0` or `< 1e-6`."""
    if not math.isfinite(value):
        return "infinite" if value > 0 else "-"
    if abs(value) < TINY:
        return "0" if value == 0 else "< 1e-6"
    text = f"{value:.{digits}g}"
    return f"{value:,.0f}" if "e+" in text or abs(value) >= 1000 else text


def listing(names: Iterable[str]) -> str:
    """Names in a sentence; more than six are counted."""
    names = list(dict.fromkeys(names))
    if len(names) > _CROWD:
        names = [*names[: _CROWD - 1], f"{len(names) - _CROWD + 1} more"]
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]])) if names else "none"


def note(verdict: Verdict) -> str:
    """Why nothing may be concluded, if so, and what is not ranked because it is from another machine."""
    return "; ".join(filter(None, (verdict["note"], not_ranked_with(verdict, listing))))


def _best(verdict: Verdict, heading: str) -> list[tuple[str, str]]:
    if verdict["leader"] is None:
        return [(heading, verdict["note"])] if verdict["note"] else []
    models = list(dict.fromkeys(line["label"] for line in verdict["best"]))
    ranked = {line["label"] for line in verdict["lines"] if not line["control"] and not line["marked"]}
    ranked -= {line["label"] for line in verdict["few_seeds"]}
    others = {line["label"] for line in verdict["lines"] if not line["control"]} - ranked
    only = " (the only model that is ranked)" if others else " (the only model)"
    leader = next(line for line in verdict["lines"] if _is(line, verdict["leader"]))
    remark = only if len(ranked) == 1 else ", not told apart" if len(models) > 1 else ""
    ahead = f"; {leader['label']} has {verdict['title']} {_measured(leader)}{_unit(verdict)}"
    unsure = [
        f"{_name(line)} has {number(line['value'])}{_unit(verdict)}"
        for line in verdict["lines"]
        if any(_is(line, named) for named in verdict["unsure"])
    ]
    # A model that varies much cannot be told apart from the best, which must not read as if it were as good.
    doubt = f"; undecided, because values vary too much: {listing(unsure)}" if unsure else ""
    return [(heading, f"{listing(models)}{remark}{ahead}{doubt}")]


def _unit(verdict: Verdict) -> str:
    return f" {verdict['unit']}" if verdict["unit"] else ""


def _name(line: Verdict) -> str:
    return f"{line['label']} [{line['sampler']}]" if line["sampler"] else str(line["label"])


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


def _measured(line: Verdict) -> str:
    """A value with its interval, in the decimals that the interval supports."""
    value, low, high = line["value"], line["low"], line["high"]
    if low is None or high is None or not high > low:
        return number(value)
    decimals = max(0, 1 - math.floor(math.log10((high - low) / 2)))
    if decimals > -math.log10(TINY):
        return number(value)
    shown = [f"{x:.{decimals}f}" for x in (value, low, high)]
    value_, low_, high_ = (x.lstrip("-") if float(x) == 0 else x for x in shown)
    return f"{value_} ({low_} to {high_})"


def _cheapest(costs: Sequence[Verdict]) -> list[tuple[str, str]]:
    lines = []
    for verdict in costs:
        heading = f"Least {verdict['title']} of these{measured_on(verdict)}"
        if verdict["leader"] is not None:
            best = [line for line in verdict["lines"] if line["best"]]
            values, unit = [line["value"] for line in best], verdict["unit"]
            if unit == "s" and min(values) < 1:
                values, unit = [value * 1e3 for value in values], "ms"
            low, high = number(min(values)), number(max(values))
            shown = low if low == high else f"{low} to {high}"
            lines.append((heading, f"{listing(map(_name, best))}: {shown} {unit}".rstrip()))
        elif verdict["note"] == CONTENDED:
            lines.append((heading, verdict["note"]))
    for verdict in costs:
        front = [
            f"{line['label']} [{line['sampler']}]" + (f" ({line['share']:.0%})" if line["share"] < _SURE else "")
            for line in verdict.get("front", ())
        ]
        if len(front) > 1:
            lines.append((f"Front of quality and {verdict['title']}", listing(front)))
    return lines


def _subject(verdict: Verdict, kinds: dict[str, str] | None) -> str:
    name = str(verdict["criterion"])
    if not name.startswith("likelihood:"):
        return name
    kind, _, base = name.removeprefix("likelihood:").partition(" ")
    about = [(kinds or {}).get(kind, kind), base.strip("()")]
    return f"likelihood ({', '.join(filter(None, about))})"


def _is(line: Verdict, named: Verdict) -> bool:
    return bool(line["label"] == named["label"] and line["sampler"] == named["sampler"])
