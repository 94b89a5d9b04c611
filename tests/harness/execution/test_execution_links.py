"""No file of a job is written into what a link leads to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import trilemma
from trilemma.harness.api import make_runner
from trilemma.harness.store.store import Store


def test_the_folder_and_the_log_of_a_job_are_never_written_through_a_link(
    suite: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    out, treasure = tmp_path / "out", tmp_path / "treasure"
    treasure.mkdir()
    for name in ("job.json", "events.jsonl", "log"):
        (treasure / name).write_text("my own")
    (item,) = make_runner(suite("gaussian"), out=out).dry_run()
    with Store(out).writing():
        (out / "tmp" / f"job-{item.cell.id}").symlink_to(treasure)
        (out / "logs" / f"{item.cell.id}.log").symlink_to(treasure / "log")
    frame = trilemma.run(suite("gaussian"), out=out)
    assert set(frame["outcome"]) == {"ok"}
    assert {file.read_text() for file in treasure.iterdir()} == {"my own"}
    assert len(list(treasure.iterdir())) == 3
    assert not (out / "logs" / f"{item.cell.id}.log").is_symlink()
