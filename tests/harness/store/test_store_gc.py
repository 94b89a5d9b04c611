"""`trilemma gc`: what nothing needs is shown, then deleted; everything else stays, whenever it is killed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import Result

import trilemma
from trilemma.harness.api import make_runner
from trilemma.harness.store import garbage
from trilemma.harness.store.store import Store

Suite = dict[str, Any]
Command = Callable[..., Result]


@pytest.fixture
def changed(tiny_suite: Suite) -> Suite:
    """The tiny suite with other options of a metric."""
    return {**tiny_suite, "metrics": {"nll": {"n": 50}, "wasserstein": {"n": 40, "draws": 2}}}


@pytest.fixture
def littered(finished_copy: Path, changed: Suite) -> Path:
    """A run directory with superseded evaluations, folders of no run, set-aside damage, leftovers and foreign files."""
    trilemma.run(changed, out=finished_copy)
    for kind, name in (("cells", "a"), ("evaluations", "b"), ("data", "c")):
        shutil.copytree(next((finished_copy / kind).iterdir()), finished_copy / kind / (name * 20))
    (finished_copy / "cells" / ("d" * 20)).mkdir()
    (finished_copy / "cells" / ("d" * 20) / "thesis.txt").write_text("three years of work")
    (finished_copy / "cells" / "mine").mkdir()
    (finished_copy / "cells" / ("e" * 20)).symlink_to(finished_copy / "cells" / "mine")
    (finished_copy / "aside" / "cells-1-1").mkdir(parents=True)
    (finished_copy / "tmp" / f"job-{'f' * 20}").mkdir()
    (finished_copy / "logs" / f"{'a' * 20}.log").write_text("old")
    (finished_copy / "logs" / "mine.log").write_text("mine")
    for name in (f"{'a' * 20}.safetensors", f".{'a' * 20}.safetensors.99", "mine.safetensors"):
        (finished_copy / "partial" / name).write_text("a state")
    (finished_copy / "reruns").mkdir()
    for name in (f"{'a' * 20}.json", f".{'a' * 20}.json.99", "mine.json"):
        (finished_copy / "reruns" / name).write_text("{}")
    return finished_copy


def test_what_nothing_needs_is_shown_and_deleted(littered: Path, changed: Suite, command: Command) -> None:
    before = trilemma.load_results(littered)
    everything = trilemma.load_results(littered, superseded=True)
    old = set(everything.loc[everything["superseded"], "evaluation"])
    assert len(old) == 3
    files = sorted(littered.rglob("*"))
    shown = command("gc", littered, "--json")
    assert sorted(littered.rglob("*")) == files, "without --delete nothing changes"
    places = {item["place"]: item["why"] for item in json.loads(shown.stdout)["garbage"]}
    assert {place for place, why in places.items() if why == "superseded"} == {f"evaluations/{id}" for id in old}
    assert {place for place, why in places.items() if why == "no run lists it"} == {
        f"cells/{'a' * 20}", f"evaluations/{'b' * 20}", f"data/{'c' * 20}", f"cells/{'d' * 20}"
    }  # fmt: skip
    assert {"aside/cells-1-1", f"tmp/job-{'f' * 20}", f"logs/{'a' * 20}.log"} <= set(places)
    assert {f"partial/{'a' * 20}.safetensors", f"partial/.{'a' * 20}.safetensors.99"} <= set(places)
    assert {f"reruns/{'a' * 20}.json", f"reruns/.{'a' * 20}.json.99"} <= set(places)
    deleted = command("gc", littered, "--delete", "--json")
    assert [item["place"] for item in json.loads(deleted.stdout)["kept"]] == [f"cells/{'d' * 20}"]
    assert {item["place"] for item in json.loads(deleted.stdout)["garbage"]} == set(places) - {f"cells/{'d' * 20}"}
    assert (littered / "cells" / ("d" * 20) / "thesis.txt").read_text() == "three years of work"
    assert (littered / "cells" / ("e" * 20)).is_symlink()
    assert (littered / "logs" / "mine.log").exists()
    assert (littered / "partial" / "mine.safetensors").exists()
    assert (littered / "reruns" / "mine.json").exists()
    pd.testing.assert_frame_equal(trilemma.load_results(littered), before)
    assert not trilemma.load_results(littered, superseded=True)["superseded"].any()
    assert make_runner(changed, out=littered).dry_run() == []
    assert command("doctor", littered).exit_code == 0


def test_superseded_cells_go_with_their_data_and_logs(tmp_path: Path, tiny_suite: Suite, command: Command) -> None:
    table, out = tmp_path / "table.csv", tmp_path / "out"
    values = {**tiny_suite, "datasets": [{"name": "file", "config": {"path": str(table)}}]}
    for factor in (1, 2):
        table.write_text("\n".join(f"{factor * 0.1 * i},{(0.3 * i) % 1}" for i in range(300)))
        current = trilemma.run(values, out=out, models=["gaussian"])
    assert command("gc", out, "--delete").exit_code == 0
    for kind, column in (("cells", "cell"), ("evaluations", "evaluation"), ("data", "data_id")):
        assert set(os.listdir(out / kind)) == set(current[column]), kind
    assert set(os.listdir(out / "logs")) == {f"{id}.log" for id in {*current["cell"], *current["data_id"]}}
    pd.testing.assert_frame_equal(trilemma.load_results(out, superseded=True), current)
    assert "nothing to delete" in command("gc", out).output


@pytest.mark.parametrize("moment", range(0, 12, 3))
def test_a_kill_while_deleting_leaves_a_readable_store(
    moment: int, littered: Path, changed: Suite, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = trilemma.load_results(littered)
    real, calls = garbage.discard, iter(range(1000))

    def killed(root: Path, place: Path) -> bool:
        if next(calls) == moment:
            raise SystemExit("killed")
        return real(root, place)

    with monkeypatch.context() as patch:
        patch.setattr(garbage, "discard", killed)
        with pytest.raises(SystemExit):
            garbage.collect(Store(littered))
    pd.testing.assert_frame_equal(trilemma.load_results(littered), before)
    assert make_runner(changed, out=littered).dry_run() == []
    assert command("gc", littered, "--delete").exit_code == 0
    pd.testing.assert_frame_equal(trilemma.load_results(littered), before)
