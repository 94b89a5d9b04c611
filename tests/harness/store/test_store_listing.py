"""run.json: each choice is stored once and shared by the cells that are read, and the file knows its checksum."""

from __future__ import annotations

import copy
import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from trilemma.harness.api import make_runner
from trilemma.harness.store.listing import read_run, write_list
from trilemma.harness.store.store import Store


def many(path: Path, number: int) -> dict[str, Any]:
    """The list of a finished run with many cells like its own, none of whose parts are shared."""
    record = Store(path).run()
    cells = [
        {
            **cell,
            "id": f"{n:020x}",
            "seed": n,
            "evaluations": [{**p, "id": f"{n}-{p['id']}"} for p in cell["evaluations"]],
        }
        for n, cell in enumerate(record["cells"] * number)
    ]
    return {**record, "cells": copy.deepcopy(cells)}


def test_what_is_read_is_what_was_written(finished: Path, tmp_path: Path) -> None:
    record = many(finished, 5)
    write_list(tmp_path, record["runs"], record["cells"])
    assert read_run(tmp_path) == record


def test_each_choice_is_stored_once_and_shared(finished: Path, tmp_path: Path) -> None:
    record = many(finished, 200)
    write_list(tmp_path, record["runs"], record["cells"])
    stored = json.loads((tmp_path / "run.json").read_text())
    assert (len(stored["models"]), len(stored["datasets"]), len(stored["cells"])) == (3, 1, 600)
    assert len(stored["evaluations"]) == len(
        {json.dumps({**p, "id": "", "run": 0}) for cell in record["cells"] for p in cell["evaluations"]}
    )
    assert max(len(json.dumps(cell)) for cell in stored["cells"]) < 800
    read = read_run(tmp_path)
    assert read is not None
    assert len({id(cell["model"]) for cell in read["cells"]}) == 3
    assert len({id(planned["metrics"]) for cell in read["cells"] for planned in cell["evaluations"]}) <= 6


def test_the_checksum_is_of_the_json_without_it(finished: Path) -> None:
    """Any tool can check it."""
    for file in [finished / "run.json", finished / "trilemma.json", *finished.glob("*/*/record.json")]:
        record = json.loads(file.read_text())
        seal = record.pop("sha256")
        assert hashlib.sha256(json.dumps(record, separators=(",", ":")).encode()).hexdigest() == seal
        for name, entry in record.get("files", {}).items():
            content = (file.parent / name).read_bytes()
            assert entry == {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def test_a_file_that_was_only_laid_out_anew_is_whole(finished: Path, finished_copy: Path) -> None:
    for file in [finished_copy / "run.json", *finished_copy.glob("*/*/record.json")]:
        file.write_text(json.dumps(json.loads(file.read_text()), indent=2))
    assert Store(finished_copy).run() == Store(finished).run()
    cell = Store(finished).run()["cells"][0]["id"]
    assert Store(finished_copy).record("cells", cell) == Store(finished).record("cells", cell) is not None


def test_planned_cells_share_what_they_describe(finished: Path, tiny_suite: dict[str, Any]) -> None:
    values = {**tiny_suite, "seeds": 4}
    planned_cells = [item.cell for item in make_runner(values, out=finished).dry_run()]
    cells = [cell.record() for cell in planned_cells]
    assert len(cells) == 9
    assert len({id(cell["model"]) for cell in cells}) == 3
    assert len({id(metric) for cell in cells for planned in cell["evaluations"] for metric in planned["metrics"]}) == 2
    for cell, planned in zip(cells, planned_cells, strict=True):
        expected = json.loads(json.dumps(asdict(planned)))
        for evaluation in expected["evaluations"]:
            if evaluation["likelihood"] is None:  # it belongs to a sampler, and then the record does not speak of it
                del evaluation["likelihood"], evaluation["further"]
        assert json.loads(json.dumps(cell)).items() >= expected.items()
