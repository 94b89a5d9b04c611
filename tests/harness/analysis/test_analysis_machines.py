"""Numbers of several machines: what is ranked together, what is not, and that it is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import Result
from rich.console import Console

import trilemma
from trilemma.harness.cli.table import print_summary
from trilemma.harness.store.store import Store

Command = Callable[..., Result]
Rows = list[dict[str, Any]]
FAST, SLOW = "Fast CPU, 1 thread", "Slow CPU, 1 thread"


def quality(label: str, value: float, **more: Any) -> Rows:
    """The deciding metric of quality of one model for three seeds."""
    base = {
        "model": label, "label": label, "control": False, "dataset_id": "ring8", "budget": "100 steps", "device": "cpu",
        "sampler": "heun", "metric": "energy", "better": "lower", "least": 0.0, "noise": 0.1, "group": "quality",
        "place": "first", "outcome": "ok", "n": 500, "title": "Energy",
    }  # fmt: skip
    values = enumerate((value, 1.02 * value, 0.98 * value))
    return [base | {"cell": f"{label}-{k}", "seed": k, "value": v} | more for k, v in values]


def seconds(label: str, value: float, machine: str, **more: Any) -> Rows:
    """The time of sampling of one model, of three visits."""
    about = {"metric": "seconds_per_1k", "group": "sampling", "title": "Time per 1k", "unit": "s", "machine": machine}
    details = json.dumps({"visits": [value, 1.01 * value, 0.99 * value]})
    return quality(label, value, **about, n=None, noise=None, details=details, **more)[:1]


def trained(label: str, value: float, machine: str, **more: Any) -> Rows:
    """Quality within a budget in seconds."""
    return quality(label, value, budget="10 s", machine=machine, trained_on=machine, **more)


def said(rows: Rows, criterion: str) -> list[dict[str, Any]]:
    return [verdict for verdict in trilemma.verdicts(pd.DataFrame(rows)) if verdict["criterion"] == criterion]


def printed(rows: Rows) -> str:
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    print_summary(pd.DataFrame(rows), console)
    return console.export_text()


def test_times_of_two_machines_are_ranked_apart_and_quality_together() -> None:
    rows = [*quality("a", 1.0), *quality("b", 1.0), *quality("c", 1.0)]
    rows += [*seconds("a", 2.0, SLOW), *seconds("b", 1.0, FAST), *seconds("c", 9.0, SLOW)]
    (best,) = said(rows, "quality")
    assert {line["label"] for line in best["best"]} == {"a", "b", "c"}
    assert (best["machine"], best["trained_on"], best["elsewhere"]) == ("", "", [])
    slow, fast = said(rows, "cost:seconds_per_1k")
    assert (slow["machine"], fast["machine"]) == (SLOW, FAST)
    assert [line["label"] for line in slow["best"]] == ["a"], "b is faster, on another machine"
    assert [line["label"] for line in fast["best"]] == ["b"]
    assert [line["label"] for line in slow["elsewhere"]] == ["b"]
    assert sorted(line["label"] for line in fast["elsewhere"]) == ["a", "c"]
    frame = pd.DataFrame(rows)
    (answer,) = trilemma.answers(trilemma.summary_rows(frame), trilemma.verdicts(frame))
    sentences = {line.heading: line.text for line in answer.lines}
    assert sentences["Time per 1k from several machines, ranked within each"] == (
        f"{SLOW}: a [heun] and c [heun]; {FAST}: b [heun]"
    )
    assert f"Least Time per 1k of these, timed on {FAST}" in sentences
    table = trilemma.summary_rows(pd.DataFrame(rows))
    assert table.loc[table["elsewhere"], ["label", "metric"]].values.tolist() == [["b", "seconds_per_1k"]]
    text = printed(rows)
    assert "1000*‡" in text.replace(",", "") or "1*‡" in text
    assert "‡ from another machine than most" in text


def test_within_one_machine_nothing_is_said_of_machines() -> None:
    rows = [*quality("a", 1.0), *quality("b", 1.0), *seconds("a", 2.0, SLOW), *seconds("b", 1.0, SLOW)]
    bare = [{key: value for key, value in row.items() if key != "machine"} for row in rows]
    assert printed(rows) == printed(bare)
    assert SLOW not in printed(rows)
    (cost,) = said(rows, "cost:seconds_per_1k")
    assert [line["label"] for line in cost["best"]] == ["b"]


def test_models_trained_within_seconds_on_two_machines_are_ranked_apart() -> None:
    rows = [*trained("a", 5.0, SLOW), *trained("b", 5.5, SLOW), *trained("c", 1.0, FAST), *trained("d", 1.2, FAST)]
    slow, fast = said(rows, "quality")
    assert {line["label"] for line in slow["best"]} <= {"a", "b"}
    assert {line["label"] for line in fast["best"]} <= {"c", "d"}
    assert [(line["label"], line["trained_on"]) for line in slow["elsewhere"]] == [("c", FAST), ("d", FAST)]
    text = printed(rows)
    assert f"Conclusions for ring8 (10 s, cpu, {SLOW})" in text
    heading = "Trained on another machine within the same seconds, not ranked with these"
    assert f"{heading}: {FAST}: c and d" in text


def test_seeds_of_two_machines_are_not_averaged() -> None:
    rows = [*trained("a", 5.0, SLOW)[:2], *trained("a", 1.0, FAST)[2:]]
    table = trilemma.summary_rows(pd.DataFrame(rows))
    assert table.set_index("trained_on")["seeds"].to_dict() == {SLOW: (0, 1), FAST: (2,)}
    assert not table["best"].any()
    text = printed(rows)
    assert f"a ({SLOW})" in text
    assert f"a ({FAST})" in text


def test_models_timed_elsewhere_keep_their_place_among_the_best_in_quality() -> None:
    """Workers train, and the machine that started them measures the times."""
    about = {"budget": "10 s", "trained_on": FAST}
    rows = [*trained("a", 1.0, FAST), *trained("b", 1.0, FAST), *trained("bad", 50.0, FAST)]
    rows += [*seconds("a", 2.0, SLOW, **about), *seconds("b", 1.0, SLOW, **about), *seconds("bad", 0.1, SLOW, **about)]
    (cost,) = said(rows, "cost:seconds_per_1k")
    assert [line["label"] for line in cost["best"]] == ["b"]
    assert cost["machine"] == SLOW


def test_a_comparison_says_that_two_machines_are_not_compared() -> None:
    rows = [*quality("a", 1.0), *quality("b", 1.0), *seconds("a", 2.0, SLOW), *seconds("b", 1.0, FAST)]
    records = {record["criterion"]: record for record in trilemma.compare(pd.DataFrame(rows), "a", "b")}
    time = records["cost:seconds_per_1k"]
    assert (time["better"], time["p_value"]) == ("", None)
    assert "timed on another machine" in time["note"]
    assert (time["a"]["machine"], time["b"]["machine"]) == (SLOW, FAST)
    assert records["quality"]["note"] == ""
    (alone,) = trilemma.compare(pd.DataFrame([*trained("a", 1.0, SLOW), *trained("b", 9.0, FAST)]), "a", "b")
    assert "trained on another machine" in alone["note"]


def test_a_summary_over_datasets_is_of_one_machine() -> None:
    rows = [row for d in ("one", "two") for row in trained("a", 1.0, SLOW, dataset_id=d)]
    rows += [row for d in ("one", "two") for row in trained("a", 2.0, FAST, dataset_id=d)]
    assert [record["trained_on"] for record in trilemma.overall(pd.DataFrame(rows))] == [SLOW, FAST]


# From a run directory


def on_another_machine(path: Path, kind: str, choose: Callable[[dict[str, Any]], bool]) -> int:
    """Make the environment of some records that of another processor. Returns how many there were."""
    store, count = Store(path), 0
    for folder in sorted((path / kind).iterdir()):
        record = store.record(kind, folder.name)
        if record is None or "environment" not in record or not choose(record):
            continue
        names = [file.stem for file in folder.glob("*.safetensors")]
        tensors = {name: found for name in names if (found := store.tensors(kind, folder.name, name)) is not None}
        environment = {**record["environment"], "cpu": "Another  CPU @ 9 GHz", "threads": 2}
        store.commit(kind, folder.name, {**record, "environment": environment}, tensors)
        count += 1
    return count


OTHER = "Another CPU @ 9 GHz, 2 threads"


def test_steps_do_not_depend_on_the_machine(finished_copy: Path) -> None:
    before = trilemma.load_results(finished_copy)
    assert on_another_machine(finished_copy, "cells", lambda record: True) == 3
    pd.testing.assert_frame_equal(trilemma.load_results(finished_copy), before)
    assert set(before["machine"]) | set(before["trained_on"]) == {""}


@pytest.fixture(scope="module")
def timed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two models with a budget in seconds, and with times."""
    out = tmp_path_factory.mktemp("timed") / "run"
    trilemma.run(
        {
            "name": "timed", "budget": {"seconds": 0.2}, "timing": {"rounds": 1},
            "datasets": [{"name": "ring8", "config": {"n_train": 200, "n_valid": 50, "n_test": 100}}],
            "models": [{"name": "realnvp", "config": {"transforms": [2, 3]}}],
            "metrics": {"wasserstein": {"n": 50, "draws": 2}, "sampling_time": {}, "training_cost": {}},
        },
        out=out,
    )  # fmt: skip
    return out


@pytest.mark.usefixtures("undrawn")
def test_seconds_and_times_name_their_machine_in_frame_report_and_verdicts(timed: Path, command: Command) -> None:
    frame = trilemma.load_results(timed)
    (here,) = set(frame["machine"])
    assert here.endswith(", 1 thread")
    assert set(frame["trained_on"]) == {here}
    report = (timed / "report.md").read_text()
    assert "another machine" not in report
    assert "Machine 2" not in report
    first = frame["cell"].iloc[0]
    assert on_another_machine(timed, "cells", lambda record: record["cell"]["id"] == first) == 1
    frame = trilemma.load_results(timed)
    moved = frame["cell"] == first
    assert set(frame.loc[moved, "trained_on"]) == {OTHER}
    times = frame["metric"].isin(["seconds_per_1k", "latency_p50", "latency_p90"])
    assert times.any()
    assert set(frame.loc[times, "machine"]) == {here}
    assert set(frame.loc[moved & ~times, "machine"]) == {OTHER}
    shown = command("results", timed, "--verdicts")
    assert "trained on another machine within the same seconds" in shown.stdout
    assert OTHER in shown.stdout
    assert command("report", timed).exit_code == 0
    report = (timed / "report.md").read_text()
    assert f"realnvp(transforms=2) · {OTHER}" in report
    assert "Trained on another machine within the same seconds, not ranked with these" in report
    evaluations = on_another_machine(timed, "evaluations", lambda record: True)
    assert evaluations == 2
    assert set(trilemma.load_results(timed).loc[times, "machine"]) == {OTHER}
