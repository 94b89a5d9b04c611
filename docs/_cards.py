"""The tables of the page on metric cards, written from docs/cards.json."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from _markdown import table

from trilemma.harness.conformance.card import Card, Reading, SpaceCard
from trilemma.harness.conformance.defects import IMAGES, VECTORS, Defect

FILE = Path(__file__).parent / "cards.json"
DEFECTS_MARK, CARDS_MARK = "<!-- defects -->", "<!-- cards -->"
"""Where docs/metric-cards.md lists the defects and the cards."""


def cards() -> list[Card]:
    """The stored cards."""
    return [Card.of(record) for record in json.loads(FILE.read_text(encoding="utf-8"))["cards"]]


def fill(markdown: str) -> str:
    """The page with its tables."""
    found = cards()
    parts = [made_by(found), verdicts(found), *powers(found), *without(found)]
    markdown = markdown.replace(DEFECTS_MARK, "\n\n".join(defects()))
    return markdown.replace(CARDS_MARK, "\n\n".join(parts))


def defects() -> Iterator[str]:
    """Each defect with what its amounts mean."""
    for title, group in (("In 2 and 16 dimensions", VECTORS), ("On digits", IMAGES)):
        yield f"**{title}**"
        yield table(["Defect", "What it is", "Amount means", "Weak", "Strong"], [_defect(defect) for defect in group])


def _defect(defect: Defect) -> list[str]:
    what = " ".join((defect.plant.__doc__ or "").split("\n\n")[0].split()).replace("`amount`", "*amount*")
    return [defect.name, what, defect.text, f"{defect.amounts[0]:g}", f"{defect.amounts[1]:g}"]


def made_by(found: list[Card]) -> str:
    """The commands that made the cards."""
    commands: dict[str, list[str]] = {}
    for card in found:
        options = [f"--{key} {value:g}" for key, value in card.request.items() if key not in ("spaces", "options")] + [
            f"--space {','.join(card.request['spaces'])}" for _ in range("spaces" in card.request)
        ]
        commands.setdefault(" ".join(options), []).append(card.metric)
    if len(commands) == 1:
        (options,) = commands
        return f"The cards below were made by `trilemma card --all {options} --out docs/cards.json`."
    lines = [f"- `trilemma card {' '.join(names)} {text}`" for text, names in commands.items()]
    return "The cards below were made by these commands:\n\n" + "\n".join(lines)


def verdicts(found: list[Card]) -> str:
    """A table of all quantities with the spaces in which models may be ranked by them."""
    spaces = list(dict.fromkeys(space.space for card in found for space in card.spaces))
    rows = []
    for card in found:
        for name, better in {q.quantity: q.better for space in card.spaces for q in space.quantities}.items():
            cells = {space.space: _verdict(space, name) for space in card.spaces}
            rows.append([f"`{name}`", better, *(cells.get(space, "not measured") for space in spaces)])
    return "**Where models may be ranked by a number**\n\n" + table(["Quantity", "Better", *spaces], rows)


def _verdict(space: SpaceCard, name: str) -> str:
    quantity = next((quantity for quantity in space.quantities if quantity.quantity == name), None)
    if quantity is None:
        return "left out" if space.why.startswith("left out") else "not defined"
    if quantity.better == "none":
        return "no direction"
    if quantity.may_rank:
        return "yes" if quantity.ranks else "yes, but it ranks nobody"
    wrong = ", ".join(reading.defect for reading in quantity.readings if reading.prefers)
    return f"no: prefers {wrong}" + (" (**ranks models**)" if quantity.ranks else "")


def powers(found: list[Card]) -> Iterator[str]:
    """For each space, a table of the power of each quantity for each defect."""
    spaces: dict[str, list[SpaceCard]] = {}
    for card in found:
        for space in card.spaces:
            if space.quantities:
                spaces.setdefault(space.space, []).append(space)
    for name, group in spaces.items():
        first = group[0]
        levels = ", ".join(sorted({f"{space.repeats} repeats, level {space.level:.2g}" for space in group}))
        yield f"**Power in {name}**: {first.title} (d = {first.dim}), {levels}"
        heads = [reading.defect for reading in first.quantities[0].readings]
        rows = [
            [f"`{q.quantity}`", str(q.n or ""), _sets(space), f"{space.seconds:.2g}", *map(_power, q.readings)]
            for space in group
            for q in space.quantities
        ]
        yield table(["Quantity", "n", "Sets", "CPU s", *heads], rows)


def _sets(space: SpaceCard) -> str:
    return str(space.options.get("draws", ""))


def _power(reading: Reading) -> str:
    """The power for the weak and the strong defect, without leading zeros, and a dagger for a preference."""
    pair = " / ".join("" if power is None else _short(power) for power in reading.power)
    return f"{pair} †" if reading.prefers else pair


def _short(power: float) -> str:
    text = f"{power:.2f}"
    return {"0.00": "0", "1.00": "1"}.get(text, text.removeprefix("0"))


def without(found: list[Card]) -> Iterator[str]:
    """The metrics without a panel and the spaces that were left out, with the reason."""
    rows = [[f"`{card.metric}`", "all", card.why] for card in found if card.why]
    for card in found:
        rows += [[f"`{card.metric}`", space.space, space.why] for space in card.spaces if space.why]
    if rows:
        yield "**Metrics without a panel**"
        yield table(["Metric", "Space", "Why"], rows)
