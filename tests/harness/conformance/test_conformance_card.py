"""The card of a metric: its power, what it prefers, and how preferences are told from chance."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import pytest
from pydantic import Field
from scipy import stats

import trilemma
from trilemma.harness.conformance.card import Card
from trilemma.harness.conformance.card_maker import _power, make_card, request_of, source_of
from trilemma.harness.conformance.panel import LEVEL, PLANS, least_repeats, preferences, wins_needed


class Moments(trilemma.Metric):
    """Numbers of known behavior: an error of the mean, a spread that prefers narrow distributions, and a coin."""

    name = "moments"
    quantities = (
        trilemma.Quantity(name="mean_error", group="quality"),
        trilemma.Quantity(name="spread", group="quality", least_dim=3),
        trilemma.Quantity(name="negative_spread", group="quality", better="higher", ranks=False),
        trilemma.Quantity(name="coin", group="quality"),
        trilemma.Quantity(name="level", group="quality", better="none"),
    )

    class Config(trilemma.Config):
        """Sizes."""

        n: int = Field(300, ge=2, description="points")
        draws: int = Field(2, ge=2, description="sample sets")

    def compute(self, evaluation: trilemma.Evaluation) -> list[trilemma.Result]:
        n = min(self.config.n, evaluation.size("test"))
        x, real = evaluation.generate(n), evaluation.real(n)
        spread = float(x.std(0).mean())
        coin = np.random.default_rng(zlib.crc32(x.tobytes())).random()
        values = (float(np.linalg.norm(x.mean(0) - real.mean(0))), spread, -spread, coin, spread)
        return [
            quantity.result(value, evaluation.dim, n=n) for quantity, value in zip(self.quantities, values, strict=True)
        ]


class Fussy(Moments):
    """It refuses far points with an error of trilemma, and images."""

    name = "fussy"

    def compute(self, evaluation: trilemma.Evaluation) -> list[trilemma.Result]:
        if evaluation.dataset.kind == "image":
            raise trilemma.UnsupportedError("no images")
        if np.abs(evaluation.generate(self.config.n)).max() > 8:
            raise trilemma.DataError("a point is too far away")
        return super().compute(evaluation)


class Broken(Moments):
    """It fails with an error of its own."""

    name = "broken"

    def compute(self, evaluation: trilemma.Evaluation) -> list[trilemma.Result]:
        raise ZeroDivisionError("division by zero")


@pytest.fixture(scope="module")
def card() -> Card:
    return make_card(Moments, repeats=19)


def quantities(card: Card, space: str) -> dict[str, Any]:
    (found,) = [entry for entry in card.spaces if entry.space == space]
    return {quantity.quantity: quantity for quantity in found.quantities}


def readings(quantity: Any) -> dict[str, Any]:
    return {reading.defect: reading for reading in quantity.readings}


def test_a_card_has_every_space_defect_and_quantity(card: Card) -> None:
    assert [space.space for space in card.spaces] == ["2d", "16d", "digits"]
    assert [space.dim for space in card.spaces] == [2, 16, 64]
    for space in card.spaces:
        assert space.repeats == 19
        assert space.level == pytest.approx(0.05)
        assert space.seconds is not None
        assert [q.quantity for q in space.quantities] == [q.name for q in Moments.quantities]
        names = [defect.name for defect in PLANS[space.space].defects]
        assert all(list(readings(quantity)) == names for quantity in space.quantities)


def test_power_is_high_where_a_number_sees_and_at_the_level_elsewhere(card: Card) -> None:
    seen = readings(quantities(card, "16d")["mean_error"])
    assert seen["shift"].power[1] == 1
    assert seen["modes gone"].power[1] > 0.7
    assert seen["shift"].monotone
    assert seen["shift"].wins[1] == 0
    for defect in ("modes narrower", "memorized", "unrelated"):
        assert seen[defect].power[1] <= 0.3, "the mean is the same"
    assert quantities(card, "16d")["mean_error"].may_rank


def test_what_prefers_a_defect_may_not_rank(card: Card) -> None:
    for space in ("2d", "16d", "digits"):
        found = quantities(card, space)
        assert "narrower: strong over truth" in found["spread"].prefers
        assert "narrower: strong over weak" in found["spread"].prefers
        assert "wider: strong over truth" not in found["spread"].prefers
        assert not found["spread"].may_rank
    # The negative of the spread is better when higher, so it prefers the same defects.
    assert quantities(card, "16d")["negative_spread"].prefers == quantities(card, "16d")["spread"].prefers
    assert readings(quantities(card, "2d")["spread"])["narrower"].wins[1] == 19
    assert not quantities(card, "2d")["spread"].ranks, "least_dim is 3"
    assert quantities(card, "16d")["spread"].ranks


def test_chance_is_no_preference_and_a_number_without_direction_has_none(card: Card) -> None:
    for space in ("2d", "16d", "digits"):
        assert quantities(card, space)["coin"].prefers == ()
        level = quantities(card, space)["level"]
        assert level.prefers == ()
        assert not level.may_rank
        assert all(reading.wins is None for reading in level.readings)
    both = readings(quantities(card, "16d")["level"])
    assert both["narrower"].power[1] == both["wider"].power[1] == 1, "too low and too high are both found"


def test_power_has_the_stated_level() -> None:
    rng = np.random.default_rng(0)
    for repeats, level in ((19, 0.05), (39, 0.05), (13, 1 / 14)):
        found = [_power(rng.random(repeats), rng.random(repeats)) for _ in range(4000)]
        assert float(np.mean(np.array(found, dtype=float))) == pytest.approx(level, abs=0.006)
    assert _power(np.arange(20.0), np.full(20, np.nan)) is None


def test_the_wins_that_chance_does_not_explain() -> None:
    for repeats, comparisons in ((13, 42), (20, 42), (40, 36), (100, 1)):
        needed = wins_needed(repeats, comparisons)
        assert stats.binom.sf(needed - 1, repeats, 0.5) <= LEVEL / comparisons
        assert stats.binom.sf(needed - 2, repeats, 0.5) > LEVEL / comparisons
    assert wins_needed(5, 42) == 6, "five wins of five prove nothing"
    least = least_repeats(42)
    assert wins_needed(least, 42) == least
    assert wins_needed(least - 1, 42) == least


def test_a_card_is_the_same_after_it_was_stored(card: Card) -> None:
    again = Card.of(card.record())
    assert again.record() == card.record()
    assert again.spaces[0].quantities[1].prefers == card.spaces[0].quantities[1].prefers


def test_a_refused_defect_has_no_values_and_a_refused_space_a_reason() -> None:
    card = make_card(Fussy, spaces=["2d", "digits"], repeats=2)
    assert card.spaces[1].why == "no images"
    assert card.spaces[1].quantities == ()
    outliers = readings(quantities(card, "2d")["mean_error"])["outliers"]
    assert outliers.medians == (None, None)
    assert outliers.power == (None, None)
    assert outliers.wins == (0, 0)


def test_a_metric_that_fails_is_named_with_the_defect() -> None:
    with pytest.raises(trilemma.PluginError, match=r"'broken' fails for defect 'truth'.*ZeroDivisionError"):
        make_card(Broken, spaces=["2d"], repeats=2)


def test_repeats_follow_the_time_and_slow_metrics_are_left_out() -> None:
    quick = make_card(Moments, spaces=["2d"], seconds=0.0, n=20)
    assert quick.spaces[0].repeats == least_repeats(3 * len(PLANS["2d"].defects))
    slow = make_card(Moments, spaces=["2d"], limit=1e-9)
    assert "left out" in slow.spaces[0].why


def test_sizes_are_options_of_the_metric_and_fit_the_data() -> None:
    card = make_card(Moments, Moments.Config(n=100, draws=5), spaces=["2d", "digits"], repeats=2, n=50)
    assert card.spaces[0].options == {"n": 50, "draws": 5}
    assert card.spaces[1].options == {"n": 50, "draws": 2}, "the pool of digits is enough for two draws"
    assert card.spaces[0].quantities[0].n == 50
    with pytest.raises(trilemma.PluginError, match="did you mean '16d'"):
        make_card(Moments, spaces=["16"])


@pytest.mark.parametrize("change", [{"stage": "likelihood"}, {"stage": "timing"}, {"compares": False}])
def test_metrics_of_other_things_have_no_panel_and_say_why(change: dict[str, Any]) -> None:
    card = make_card(type("Other", (Moments,), change))
    assert card.spaces == ()
    assert card.why


def test_a_stored_card_holds_for_the_same_source_and_request() -> None:
    assert source_of(Moments) != source_of(Fussy)
    assert request_of(None, repeats=20, seconds=120.0, n=None) == {"repeats": 20}
    assert request_of(Moments.Config(), seconds=120.0) == {"seconds": 120.0, "options": {"n": 300, "draws": 2}}


def test_the_short_form_finds_what_ranks_and_prefers() -> None:
    assert preferences(Moments(), PLANS["2d"])[1] == [], "the spread does not rank there"
    ranked, found = preferences(Moments(), PLANS["16d"])
    assert ranked == ["mean_error", "spread", "coin"]
    assert {(one.quantity, one.defect) for one in found} >= {("spread", "narrower"), ("spread", "modes narrower")}
    assert {one.quantity for one in found} == {"spread"}
    text = str(found[0])
    for part in ("spread", f"'{found[0].defect}'", "'16d' (16 dimensions)", "11 of 11"):
        assert part in text
