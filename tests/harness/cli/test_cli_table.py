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
    lines = printed(*(row("vae" * 9, 1.25, metric=name, title=name) for name in names), width=24)
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


def wide_run() -> list[dict[str, Any]]:
    """Two models with a number of every group, one of them at two sampler settings."""
    quantities = [
        ("energy", "Witness energy", "quality", "first", "", True, 0.01),
        ("w2", "W2", "quality", "main", "data units", True, 0.5),
        ("coverage", "Mode mass KL", "coverage", "first", "nats", True, 0.02),
        ("gap", "NLL - entropy", "likelihood", "first", "nats", True, 0.1),
        ("ms", "Time per 1k", "sampling", "first", "s", True, 0.012345),
        ("nfe", "NFE", "sampling", "first", "", True, 35.0),
        ("train_seconds", "Training time", "training", "main", "s", False, 5.0),
        ("width", "A quantity of an example", "further", "main", "data units", False, 1.0),
    ]
    found = []
    for label, samplers in (("realnvp(transforms=12)", ["direct"]), ("vp-sde", ["heun(steps=18)", "euler(steps=40)"])):
        for name, title, group, place, unit, ranks, value in quantities:
            more = {"group": group, "place": place, "unit": unit, "ranks": ranks, "title": title}
            own = [""] if group in ("likelihood", "training") else samplers
            found += [row(label, value, metric=name, sampler=sampler, **more) for sampler in own]
    return found


def numbers(lines: list[str]) -> list[str]:
    """The numbers in the lines of models."""
    names = ("realnvp", "vp-sde", "  heun", "  euler", "heun", "euler")
    return [word for text in lines if text.startswith(names) for word in text.split() if word[0].isdigit()]


def test_quality_and_cost_are_shown_at_eighty_columns_and_the_rest_is_named() -> None:
    lines = printed(*wide_run(), width=80)
    table = lines[next(i for i, text in enumerate(lines) if text.startswith("ring8")) :]
    assert max(map(len, lines)) <= 80
    heading = " ".join(" ".join(table[1:5]).split())
    for shown in ("Witness", "NFE", "Time", "NLL"):
        assert shown in heading
    left_out = " ".join(table[next(i for i, text in enumerate(table) if "not shown" in text) :])
    assert "A quantity of an example" in left_out
    assert "± 95 % interval" in left_out  # the footnotes
    wide = set(numbers(printed(*wide_run(), width=200)))
    assert set(numbers(table)) <= wide
    assert len(numbers(table)) > 12


def test_what_a_narrow_terminal_drops_comes_in_the_order_of_what_decides() -> None:
    kept = {}
    for width in (24, 48, 72, 200):
        lines = printed(*wide_run(), width=width)
        assert max(map(len, lines)) <= width
        text = " ".join(" ".join(lines).split())
        dropped = text.partition("not shown because the terminal is narrow: ")[2].partition(" mean over seeds")[0]
        kept[width] = 8 - len([part for part in dropped.split(", ") if part])
        if kept[width] < 8:
            order = ["Time per 1k", "NFE", "NLL - entropy", "Mode mass KL", "Training time", "W2"]
            assert dropped.split(", ")[:-1] == order[kept[width] - 1 :]
    assert kept[24] == 1
    assert list(kept.values()) == sorted(kept.values())
    assert kept[200] == 8


def test_sampler_settings_stand_below_their_model_on_a_narrow_terminal() -> None:
    lines = printed(*wide_run(), width=60)
    lines = lines[next(i for i, text in enumerate(lines) if text.strip() == "ring8") :]
    where = lines.index(line(lines, "vp-sde"))
    assert lines[where + 1].startswith("  heun(steps=18)")
    assert lines[where + 2].startswith("  euler(steps=40)")
    assert line(lines, "realnvp(transforms=").split()[1][0].isdigit()  # the only setting needs no name


def test_failures_stand_below_a_narrow_table() -> None:
    failed = {"metric": "", "sampler": "", "outcome": "error", "phase": "fit", "message": "RuntimeError: no such thing"}
    lines = printed(*wide_run(), row("gan", math.nan, **failed), width=60)
    assert "gan, fit: error: RuntimeError: no such thing" in lines
