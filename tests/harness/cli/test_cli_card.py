"""`trilemma card`: what it prints, what it stores, and how it goes on after an interruption."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Command = Callable[..., Result]

PLUGIN = '''
from pathlib import Path
import numpy as np
import trilemma

class Spread(trilemma.Metric):
    """A number that prefers what is narrow. It notes each call in a file."""
    name = "spread"
    quantities = (trilemma.Quantity(name="spread", group="quality"),)

    def compute(self, evaluation):
        note("spread")
        return [self.quantities[0].result(float(evaluation.generate(200).std()), evaluation.dim, n=200)]

class Interrupted(trilemma.Metric):
    """It is interrupted by the user."""
    name = "interrupted"
    quantities = (trilemma.Quantity(name="interrupted", group="quality"),)

    def compute(self, evaluation):
        raise KeyboardInterrupt

def note(text):
    file = Path(__file__).with_name("calls")
    file.write_text((file.read_text() if file.exists() else "") + text + "\\n")

@trilemma.hookimpl
def trilemma_metrics():
    return [Spread, Interrupted]
'''


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    file = tmp_path / "own_metrics.py"
    file.write_text(PLUGIN)
    return file


def calls(plugin: Path) -> int:
    file = plugin.with_name("calls")
    return len(file.read_text().splitlines()) if file.exists() else 0


def test_a_card_is_printed_with_power_and_preferences(command: Command, plugin: Path) -> None:
    found = command("card", "spread", "nll", "--plugin", plugin, "--space", "2d", "--repeats", 13)
    assert found.exit_code == 0, found.output
    lines = found.stdout.splitlines()
    (narrower, *_) = [line for line in lines if line.startswith("modes narrower") or line.startswith("narrower")]
    assert narrower.split() == ["narrower", "0.95", "/", "0.8", "0.00", "/", "0.00", "prefers"]
    (wider, *_) = [line for line in lines if line.startswith("wider")]
    assert wider.split()[-1] == "1.00"
    assert "2d: Ring of 8 Gaussians, 13 repeats, power at level 0.071" in found.stdout
    assert "no, but they are" in found.stdout
    assert "no panel: It is a metric of the stage 'likelihood'" in found.stdout


def test_json_has_the_values(command: Command, plugin: Path) -> None:
    found = command("card", "spread", "--plugin", plugin, "--space", "16d", "--repeats", 13, "--json")
    (card,) = json.loads(found.stdout)
    (space,) = card["spaces"]
    (quantity,) = space["quantities"]
    readings = {reading["defect"]: reading for reading in quantity["readings"]}
    assert readings["narrower"]["wins"] == [13, 13]
    assert readings["narrower"]["prefers"] == ["weak over truth", "strong over truth", "strong over weak"]
    assert readings["narrower"]["medians"][1] == pytest.approx(0.8 * quantity["truth"][1], rel=0.03)
    assert readings["wider"]["wins"] == [0, 0]
    assert space["seconds"] > 0


def test_a_stored_card_is_kept_and_an_interruption_loses_no_other(command: Command, plugin: Path) -> None:
    out = plugin.with_name("cards.json")
    options = ("--plugin", plugin, "--space", "2d", "--repeats", 2, "--out", out)
    stopped = command("card", "spread", "interrupted", *options)
    assert stopped.exit_code == 130
    assert "interrupted" in stopped.stderr
    assert [card["metric"] for card in json.loads(out.read_text())["cards"]] == ["spread"]
    before = calls(plugin)
    assert before == 2 * 29
    assert command("card", "spread", *options).exit_code == 0
    assert calls(plugin) == before, "the stored card still holds"
    assert command("card", "spread", *options[:-4], "--repeats", 3, "--out", out).exit_code == 0
    assert calls(plugin) == before + 3 * 29, "other settings"
    assert [card["metric"] for card in json.loads(out.read_text())["cards"]] == ["spread"]
    assert not list(plugin.parent.glob(".cards*")), "nothing temporary is left"


def test_a_card_of_other_code_is_made_again(command: Command, plugin: Path) -> None:
    options = ("--plugin", plugin, "--space", "2d", "--repeats", 2, "--out", plugin.with_name("cards.json"))
    counts = []
    for text in (PLUGIN, "# a comment" + PLUGIN, PLUGIN.replace("generate(200)", "generate(100)")):
        plugin.write_text(text)
        assert command("card", "spread", *options).exit_code == 0
        counts.append(calls(plugin) // 29)
    assert counts == [2, 2, 4]


def test_wrong_names_and_files_are_told_before_anything_is_computed(command: Command, plugin: Path) -> None:
    options = ("--plugin", plugin, "--repeats", 2)
    for arguments, text in [
        (("spred",), "did you mean 'spread'?"),
        (("spread", "--space", "digit"), "did you mean 'digits'?"),
        (("spread", "--set", "n=3"), "options of 'spread': n"),
        ((), "name the metrics, or give --all"),
        (("spread", "--all"), "name the metrics, or give --all"),
        (("spread", "--out", plugin), "holds something else than cards"),
        (("spread", "--out", plugin.parent / "none" / "cards.json"), "there is no folder"),
    ]:
        found = command("card", *arguments, *options)
        assert found.exit_code == 2
        assert text in found.output
    assert calls(plugin) == 0
