"""The table of a run on the terminal: every line can be told apart, and numbers stay on a narrow terminal."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
from rich.console import Console

from trilemma.harness.cli.table import print_summary


def row(label: str, value: float, **more: Any) -> dict[str, Any]:
    """One result."""
    base = {
        "cell": label, "model": label, "label": label, "control": False, "dataset_id": "ring8", "budget": "10 s",
        "device": "cpu", "seed": 0, "sampler": "direct", "metric": "w2", "better": "lower", "value": value,
        "outcome": "ok", "details": "{}", "title": "W2",
    }  # fmt: skip
    return base | more


def printed(*rows: dict[str, Any], width: int = 120) -> list[str]:
    """The lines of the table."""
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        print_summary(pd.DataFrame(rows), console)
    return capture.get().splitlines()


def line(lines: list[str], start: str) -> str:
    """The only line with this start."""
    (found,) = (line for line in lines if line.startswith(start))
    return found


def test_budgets_and_devices_of_one_label_are_lines_that_can_be_told_apart() -> None:
    lines = printed(row("vae", 1.25), row("vae", 1.5, budget="20 s"), row("flow", 3.0))
    assert "1.25" in line(lines, "vae (10 s)")
    assert "1.5" in line(lines, "vae (20 s)")
    assert "(" not in line(lines, "flow ")
    lines = printed(row("vae", 1.25), row("vae", 1.5, device="cuda"))
    assert "1.25" in line(lines, "vae (cpu)")
    assert "1.5" in line(lines, "vae (cuda)")
    lines = printed(row("vae", 1.25), row("vae", 1.5, budget="20 s", device="cuda"))
    assert "1.5" in line(lines, "vae (20 s, cuda)")


def test_conclusions_name_their_dataset_and_their_budget() -> None:
    first = {"group": "quality", "place": "first"}
    rows = [row("vae", 1.25, seed=seed, **first) for seed in range(3)]
    assert printed(*rows)[0] == "Conclusions for ring8"
    lines = printed(*rows, *(each | {"budget": "20 s"} for each in rows))
    assert [text for text in lines if text.startswith("Conclusions")] == [
        "Conclusions for ring8 (10 s, cpu)",
        "Conclusions for ring8 (20 s, cpu)",
    ]


def test_a_value_that_rounds_to_zero_has_no_sign() -> None:
    lines = printed(row("vae", -4e-6, ci_low=-3e-4, ci_high=3e-4))
    assert line(lines, "vae").endswith(" 0.00000 ±0.00030")


def test_controls_stand_apart_from_models() -> None:
    lines = printed(row("gmm", 1.0, control=True), row("vae", 1.25))
    names = [text.split()[0] for text in lines if text]
    assert names.index("vae") < names.index("controls:") < names.index("gmm")


def test_a_narrow_terminal_folds_long_labels_and_keeps_numbers() -> None:
    label = "model-with-a-name " + "and-an-option=123 " * 5
    lines = printed(row(label, 1.25), row(label, 7.75, metric="recall", title="Recall"), width=60)
    assert any("1.25" in line and "7.75" in line for line in lines)
    assert all(len(line) <= 60 for line in lines)
    assert "".join("".join(lines).split()).count("and-an-option=123") == 5
    assert not any("not shown" in line for line in lines)


def test_the_last_number_always_stays() -> None:
    names = ["one", "two", "three"]
    lines = printed(*(row("vae" * 9, 1.25, metric=name, title=name) for name in names), width=40)
    assert any("1.25" in line for line in lines)
    assert "not shown" in " ".join(lines)
    lines = printed(row("vae" * 9, 1.25, sampler="heun" * 9), width=20)
    assert any("1.25" in line for line in lines)


def test_the_message_of_a_failure_leaves_room_for_labels() -> None:
    failed = {"metric": "", "sampler": "", "outcome": "error", "phase": "fit", "message": "RuntimeError: " + "no " * 40}
    lines = printed(row("vae", 1.25), row("option=1234 " * 6, math.nan, **failed), width=60)
    assert "1.25" in line(lines, "vae ")
    assert any(line.startswith("option=1234 ") and "error: RuntimeError" in line for line in lines)
    assert "error: RuntimeError: no" in line(printed(row("flow", math.nan, **failed), width=60), "flow")


def test_long_headings_are_shortened() -> None:
    lines = printed(row("vae", 1.25, title="A title of more than\nthirty characters", unit="u" * 50))
    assert any(line.endswith(" A title of more than th…") for line in lines)
    assert not any("u" * 24 in line for line in lines)
