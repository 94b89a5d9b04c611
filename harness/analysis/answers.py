"""The answers of a run: what may be concluded on each dataset, in sentences that a reader can quote.

All outputs use them: the first screen of the report, its Markdown, and the terminal.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from ..contracts.result import LIKELIHOOD_KINDS
from .arenas import PLACE
from .choices import Costs, alternatives, floor_of, is_among
from .machines import measured_on, not_ranked_with
from .small_print import small_print
from .verdicts import Verdict
from .wording import Number, Part, listing, name, number, series, with_interval

_MOST = 6  # most models in a sentence
_NOT = "no comparison of models"


@dataclass(frozen=True)
class Line:
    """One sentence: a heading and the parts of the sentence, which are text and numbers. `fine` marks small print."""

    heading: str
    parts: tuple[Part, ...]
    fine: bool = False

    @property
    def text(self) -> str:
        """The sentence as text, with the interval of each number in parentheses."""
        return "".join(map(str, self.parts))


@dataclass(frozen=True)
class Answer:
    """What may be concluded on one dataset, for one budget, device and machine of training."""

    dataset: str
    budget: str
    device: str
    trained_on: str
    lines: tuple[Line, ...]

    @property
    def where(self) -> str:
        """The budget, device and machine of training in words."""
        return ", ".join(filter(None, (self.budget, self.device, self.trained_on)))


def answers(summary: pd.DataFrame, verdicts: Sequence[Verdict]) -> list[Answer]:
    """The answers of a run, from `trilemma.summary_rows` and `trilemma.verdicts` of its frame, in the order of these.

    Controls that beat every model come first, then the models that are best in quality, the cheapest of these, the
    fastest that is nearly as good, the best of each kind of likelihood, what no model could do, and what the table can
    tell apart. Rows that are marked or not ranked are never best. With fewer than three seeds, models are not
    compared, and only values are given.
    """
    of_place: dict[tuple[str, str, str, str], list[Verdict]] = {}
    for verdict in verdicts:
        place = (verdict["dataset"], verdict["budget"], verdict["device"], verdict["trained_on"])
        of_place.setdefault(place, []).append(verdict)
    found = []
    for place, here in of_place.items():
        rows = summary[(summary[PLACE] == list(place)).all(axis=1)]
        found.append(Answer(*place, lines=tuple(_lines(here, rows))))
    return found


def note(verdict: Verdict) -> str:
    """Why nothing may be concluded, if so, and what is not ranked because it is from another machine."""
    return "; ".join(filter(None, (verdict["note"], not_ranked_with(verdict, listing))))


def _lines(verdicts: Sequence[Verdict], rows: pd.DataFrame) -> list[Line]:
    quality = next((verdict for verdict in verdicts if verdict["criterion"] == "quality"), None)
    costs = Costs([verdict for verdict in verdicts if verdict["criterion"].startswith("cost:")], rows)
    lines: list[Line] = []
    if quality is not None:
        floor = floor_of(quality, rows)
        lines += _controls_ahead(quality, floor) + _best(quality, "Best quality", floor) + _cheapest(quality, costs)
        chosen = alternatives(quality, costs, floor)
        if chosen is not None:
            heading = f"Nearly as good, {'fastest' if costs.timed else 'cheapest'}"
            value = _number(chosen, quality, floor)
            lines.append(Line(heading, (f"{name(chosen)}: ", value, "; ", *costs.of([chosen]))))
    for verdict in verdicts:
        if verdict["criterion"].startswith("likelihood:"):
            lines += _controls_ahead(verdict, None) + _best(verdict, f"Best {_subject(verdict)}", None)
    for verdict in verdicts:
        if verdict["criterion"] == "coverage":
            lines += _controls_ahead(verdict, None) + _best(verdict, "Best coverage", None)
    if quality is not None:
        lines += _out_of_reach(quality, floor_of(quality, rows)) + _resolution(quality)
    return _once(lines) + [Line(heading, (text,), fine=True) for heading, text in small_print(verdicts)]


def _once(lines: list[Line]) -> list[Line]:
    """The lines, of which the sentence that nothing is compared stands once."""
    first = next((line for line in lines if line.text.endswith(_NOT)), None)
    return [line for line in lines if line is first or first is None or line.text != first.text]


def _controls_ahead(verdict: Verdict, floor: float | None) -> list[Line]:
    ahead = verdict["controls_ahead"]
    if not ahead:
        return []
    lines = [line for line in verdict["lines"] if not line["marked"]]
    own = [_first([line for line in lines if line["label"] == label], verdict) for label in ahead[:_MOST]]
    told = series([f"{line['label']} (", value, ")"] for line, value in _numbers(own, verdict, floor))
    more = len(ahead) - len(own)
    beat = "beats" if len(ahead) == 1 else "beat"
    others = f" and {more} more" if more else ""
    return [Line("Controls ahead", (*told, f"{others} {beat} every model in {_subject(verdict)}"))]


def _best(verdict: Verdict, heading: str, floor: float | None) -> list[Line]:
    if verdict["leader"] is None:
        lines = [Line(heading, (verdict["note"],))] if verdict["note"] else []
        return lines + (_values(verdict, heading, floor) if verdict["note"].endswith(_NOT) else [])
    ranked = {line["label"] for line in verdict["lines"] if not line["control"] and not line["marked"]}
    ranked -= {line["label"] for line in verdict["few_seeds"]}
    others = {line["label"] for line in verdict["lines"] if not line["control"]} - ranked
    only = " (the only model that is ranked)" if others else " (the only model)"
    unsure = [line for line in verdict["lines"] if is_among(line, verdict["unsure"])]
    best = [line for line in verdict["lines"] if is_among(line, verdict["best"]) and line not in unsure]
    best.sort(key=lambda line: (not is_among(line, [verdict["leader"]]), _order(line, verdict)))
    labels = list(dict.fromkeys(line["label"] for line in best))
    shown = [_first([line for line in best if line["label"] == label], verdict) for label in labels[:_MOST]]
    if len(labels) == 1:
        remark = only if len(ranked) == 1 else ""
        said: list[Part] = [f"{shown[0]['label']}{remark}: ", _number(shown[0], verdict, floor)]
    else:
        said = series([f"{line['label']} ", value] for line, value in _numbers(shown, verdict, floor))
        more = len(labels) - len(shown)
        said.append(f"{f' and {more} more' if more else ''}, not distinguishable")
    # A model that varies much cannot be told apart from the best, which must not read as if it were as good.
    if unsure:
        doubt = listing(f"{name(line)} has {number(line['value'])}{_unit(verdict)}" for line in unsure)
        said.append(f"; undecided, because values vary too much: {doubt}")
    return [Line(heading, tuple(said))]


def _values(verdict: Verdict, heading: str, floor: float | None) -> list[Line]:
    """The values of models that are not compared, the best first, each at its best sampler setting."""
    lines = [line for line in verdict["lines"] if not line["control"] and not line["marked"]]
    first = [_first([line for line in lines if line["label"] == label], verdict)
             for label in dict.fromkeys(line["label"] for line in lines)]  # fmt: skip
    first.sort(key=lambda line: _order(line, verdict))
    if not first:
        return []
    told = series([f"{line['label']} ", value] for line, value in _numbers(first[:_MOST], verdict, floor))
    more = f", and {len(first) - _MOST} more" if len(first) > _MOST else ""
    heading = heading.removeprefix("Best ")
    return [Line(heading[0].upper() + heading[1:], (*told, more) if more else tuple(told))]


def _cheapest(quality: Verdict, costs: Costs) -> list[Line]:
    """The cheapest of the models that are best in quality, for each cost, or once if they are the same for all."""
    groups: dict[frozenset[str], list[Verdict]] = {}
    for verdict in costs.judged:
        groups.setdefault(frozenset(map(name, verdict["best"])), []).append(verdict)
    lines = []
    for verdicts in groups.values():
        best = verdicts[0]["best"]
        titles = " and ".join(dict.fromkeys(verdict["title"] for verdict in verdicts))
        heading = "Cheapest of these" if len(groups) == 1 else f"Least {titles} of these{measured_on(verdicts[0])}"
        heading = "Its cost" if len(quality["best"]) == 1 else heading
        lines.append(Line(heading, (f"{listing(map(name, best))}: ", *costs.of(best))))
    lines += [Line(f"Least {v['title']} of these{measured_on(v)}", (v["note"],)) for v in costs.disturbed]
    return list(dict.fromkeys(lines))


def _out_of_reach(quality: Verdict, floor: float | None) -> list[Line]:
    if quality["leader"] is None:
        return []
    leader = next(line for line in quality["lines"] if is_among(line, [quality["leader"]]))
    said: list[Part] = []
    least = leader["value"] if leader["low"] is None else leader["low"]
    if floor is not None and least > floor:
        said += ["no model reaches the floor; the best has ", _number(leader, quality, floor)]
    if quality["controls_level"]:
        said += ["; "] if said else []
        said.append(f"no model is better than {listing(quality['controls_level'])} beyond chance")
    return [Line("Out of reach", tuple(said))] if said else []


def _resolution(quality: Verdict) -> list[Line]:
    if quality["resolution"] is None:
        return []
    seen = number(quality["resolution"])
    what = f"a factor of {seen}" if quality["scale"] == "ratio" else f"a difference of {seen}"
    return [Line("This table can tell apart", (f"{what} in quality, with {quality['seeds']} seeds, in about half of "
                                               "the cases",))]  # fmt: skip


def _numbers(lines: Sequence[Verdict], verdict: Verdict, floor: float | None) -> list[tuple[Verdict, Number]]:
    """Lines with their values, of which the first has the title."""
    return [(line, _number(line, verdict, floor, titled=place == 0)) for place, line in enumerate(lines)]


def _number(line: Verdict, verdict: Verdict, floor: float | None, *, titled: bool = True) -> Number:
    """The value of a line: as a multiple of the floor where there is one, else with its title and unit."""
    value, low, high = line["value"], line["low"], line["high"]
    over = {"seeds": f"over {line['seeds']} seeds", "metric": "of the metric for one training"}.get(
        line["interval"], ""
    )
    own, interval = with_interval(value, low, high)
    about = [f"{line['sampler']}: " if line["sampler"] else "", f"{verdict['title']} {own}{_unit(verdict)}"]
    about += [f", 95 % interval {over}: {interval}"] if interval else []
    about += [f"; {line['conditions']}"] if line["conditions"] else []
    if floor is None:
        title = f"{verdict['title']} " if titled else ""
        return Number(f"{title}{own}{_unit(verdict)}", interval, "".join(about))
    about.append(f"; the floor is {number(floor)}{_unit(verdict)}")
    text = "at the floor" if value <= floor else f"{number(value / floor, 2)} × floor"
    bounds = [number(max(0.0, end) / floor, 2) for end in (low, high) if end is not None]
    return Number(text, " to ".join(bounds) if interval and len(set(bounds)) == 2 else "", "".join(about))


def _subject(verdict: Verdict) -> str:
    criterion = str(verdict["criterion"])
    if not criterion.startswith("likelihood:"):
        return criterion
    kind, _, base = criterion.removeprefix("likelihood:").partition(" ")
    about = ", ".join(filter(None, [LIKELIHOOD_KINDS.get(kind, kind), base.strip("()")]))
    return f"likelihood ({about})" if about else "likelihood"


def _first(lines: Sequence[Verdict], verdict: Verdict) -> Verdict:
    """The best of some lines."""
    return min(lines, key=lambda line: _order(line, verdict))


def _order(line: Verdict, verdict: Verdict) -> float:
    value = -line["value"] if verdict["better"] == "higher" else line["value"]
    return float(value) if not math.isnan(value) else math.inf


def _unit(verdict: Verdict) -> str:
    return f" {verdict['unit']}".replace("^2", "²") if verdict["unit"] else ""
