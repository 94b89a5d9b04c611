"""The stored metric cards: they hold for what is registered, and nothing ranks where its card says that it must not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from trilemma.harness.conformance.panel import PLANS, no_panel
from trilemma.harness.plugins import Registry

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "metric-cards.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def generator(docs_module: Callable[[str], ModuleType]) -> ModuleType:
    """docs/_cards.py."""
    return docs_module("_cards")


@pytest.fixture(scope="module")
def metrics() -> dict[str, type[Any]]:
    return Registry(builtin_only=True).classes("metrics")


def test_every_metric_has_a_card(generator: ModuleType, metrics: dict[str, type[Any]]) -> None:
    found = {card.metric: card for card in generator.cards()}
    hint = "run `trilemma card --all --repeats 25 --out docs/cards.json`"
    assert sorted(found) == sorted(metrics), hint
    for name, card in found.items():
        assert card.why == no_panel(metrics[name]), hint
        measured = {q.quantity for space in card.spaces for q in space.quantities}
        named = {q.name for q in metrics[name].quantities}
        assert measured <= named, hint


def test_nothing_ranks_where_it_prefers_a_defect(generator: ModuleType, metrics: dict[str, type[Any]]) -> None:
    offenders = []
    for card in generator.cards():
        quantities = {q.name: q for q in metrics[card.metric].quantities} if card.metric in metrics else {}
        for space in card.spaces:
            for measured in space.quantities:
                quantity = quantities.get(measured.quantity)
                ranks = quantity is not None and quantity.ranks and quantity.better != "none"
                if ranks and quantity is not None and quantity.readable(space.dim) and measured.prefers:
                    offenders.append(f"{measured.quantity} in {space.space} prefers {'; '.join(measured.prefers)}")
    assert not offenders, "set ranks=False, least_dim, most_dim or better='none':\n" + "\n".join(offenders)


def test_the_page_shows_every_card_and_every_defect(generator: ModuleType) -> None:
    assert generator.DEFECTS_MARK in PAGE
    assert generator.CARDS_MARK in PAGE
    text = generator.fill(PAGE)
    for card in generator.cards():
        for space in card.spaces:
            assert all(f"`{q.quantity}`" in text for q in space.quantities)
        if card.why:
            assert f"`{card.metric}`" in text
    for plan in PLANS.values():
        assert all(f"| {defect.name} |" in text for defect in plan.defects)
        assert f"`{plan.name}`" in text
    assert "--out docs/cards.json" in text
