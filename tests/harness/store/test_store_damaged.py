"""Damaged files of a run directory: the list of cells is never replaced, and broken records count as absent."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

import trilemma
from trilemma.harness.api import make_runner

Suite = dict[str, Any]
Command = Callable[..., Result]

DAMAGED = {
    "empty": "",
    "truncated": '{"format": 3, "runs": [',
    "a later format": '{"format": 99, "runs": [], "cells": []}',
    "no entries": '{"format": 3}',
    "no runs": '{"format": 3, "runs": [], "cells": []}',
    "a cell without entries": '{"format": 3, "runs": [{"suite": {}, "environment": {}}], "cells": [{}]}',
    "another type": '{"format": 3, "runs": 3, "cells": {}}',
}


@pytest.mark.reports
@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_list_of_cells_is_refused_with_advice_and_never_replaced(
    content: str, finished_copy: Path, tiny_suite: Suite, tiny_file: Path, command: Command
) -> None:
    file = finished_copy / "run.json"
    file.write_text(content)
    advice = r"run\.json (is damaged|has the format \d+).* changed"
    with pytest.raises(trilemma.StoreError, match=advice):
        make_runner(tiny_suite, out=finished_copy).dry_run()
    with pytest.raises(trilemma.StoreError, match=advice):
        make_runner(tiny_suite, out=finished_copy).run()
    with pytest.raises(trilemma.StoreError, match=advice):
        trilemma.load_results(finished_copy)
    for name in ("results", "report"):
        shown = command(name, finished_copy)
        assert shown.exit_code == 2
        assert "changed" in shown.output
    assert file.read_text() == content
    file.rename(finished_copy / "damaged.json")
    with pytest.raises(trilemma.StoreError, match=r"is missing.*trilemma doctor .* --repair"):
        make_runner(tiny_suite, out=finished_copy).run()
    (finished_copy / "run.json.bak").unlink()
    assert make_runner(tiny_suite, out=finished_copy).run() == []
    assert len(trilemma.load_results(finished_copy)["cell"].unique()) == 3


@pytest.mark.reports
@pytest.mark.parametrize("content", ["{}", '{"outcome": "ok"}', '{"outcome": "ok", "phase": "", "results": [{}]}'])
@pytest.mark.parametrize("kind", ["cells", "evaluations"])
def test_an_incomplete_record_counts_as_absent(
    kind: str, content: str, finished_copy: Path, tiny_suite: Suite, command: Command
) -> None:
    folder = next((finished_copy / kind).iterdir())
    (folder / "record.json").write_text(content)
    frame = trilemma.load_results(finished_copy)
    assert "interrupted" in set(frame["outcome"])
    assert command("report", finished_copy).exit_code == 0
    assert len(make_runner(tiny_suite, out=finished_copy).dry_run()) == 1
    assert set(trilemma.run(tiny_suite, out=finished_copy)["outcome"]) == {"ok"}
    assert json.loads((folder / "record.json").read_text()).keys() > {"outcome", "message"}
