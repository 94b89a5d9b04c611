"""What is asked of Slurm, with stand-ins for its commands, and what is refused before anything runs."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

import trilemma
from trilemma.harness.api import make_runner
from trilemma.harness.execution.slurm.cluster import Cluster, State, parse_options
from trilemma.harness.execution.slurm.parts import Part, existing_parts, remove_parts
from trilemma.harness.store.store import Store

Suites = Callable[..., dict[str, Any]]

NAME = "20260101-120000-123456789-0000"
"""The name of a part."""


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put commands of Slurm on the path that print these texts."""
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")

    def install(**commands: str) -> None:
        (tmp_path / "bin").mkdir(exist_ok=True)
        for name, script in {"sbatch": "", "srun": "", **commands}.items():
            (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
            (tmp_path / "bin" / name).chmod(0o755)

    return install


def parts(folder: Path, *ids: str) -> list[Part]:
    made = [Part(folder / f"part-{id}") for id in ids]
    for part, id in zip(made, ids, strict=True):
        part.folder.mkdir(parents=True)
        part.submitted("slurm", id)
    return made


def test_states_come_from_the_queue_and_then_from_the_accounting(tmp_path: Path, slurm: Callable[..., None]) -> None:
    slurm(
        squeue="echo '7_0|RUNNING'; echo '7_1|PENDING'; echo '7_2|COMPLETING'; echo '7_3|TIMEOUT'",
        sacct='echo "$@" > $(dirname $0)/asked; echo "7_4|CANCELLED by 1000"; echo "7_4.batch|CANCELLED"; '
        'echo "7_5|NODE_FAIL"',
    )
    cluster = Cluster(tmp_path / "jobs", {})
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "7_6_0_result.pkl").touch()
    known = parts(tmp_path, *(f"7_{number}" for number in range(8)))
    states = cluster.states(known)
    assert [states[part] for part in known] == [
        State("running", "RUNNING"),
        State("pending", "PENDING"),
        State("running", "COMPLETING"),
        State("ended", "TIMEOUT"),
        State("ended", "CANCELLED"),
        State("ended", "NODE_FAIL"),
        State("ended", "COMPLETED"),
        State("ended", "LOST"),
    ]
    assert (tmp_path / "bin" / "asked").read_text().split()[-1] == "7_4,7_5,7_6,7_7"


def test_a_queue_that_does_not_answer_says_nothing_about_jobs(tmp_path: Path, slurm: Callable[..., None]) -> None:
    slurm(squeue="echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1")
    assert Cluster(tmp_path / "jobs", {}).states(parts(tmp_path, "7")) == {}
    slurm(squeue="echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1")
    (state,) = Cluster(tmp_path / "jobs", {}).states(parts(tmp_path / "more", "7")).values()
    assert state == State("ended", "LOST")


def test_jobs_are_cancelled_by_their_ids(tmp_path: Path, slurm: Callable[..., None]) -> None:
    slurm(scancel='echo "$@" > $(dirname $0)/asked')
    Cluster(tmp_path / "jobs", {}).cancel(parts(tmp_path, "7_0", "9"))
    assert (tmp_path / "bin" / "asked").read_text() == "7_0 9\n"


def test_options_are_read() -> None:
    options = ["partition=gpu", "exclusive=", "time=90", "setup=module load a", "setup=module load b", "mem=4GB"]
    assert parse_options([*options, 'additional_parameters={"reservation": "x"}']) == {
        "partition": "gpu",
        "exclusive": True,
        "time": 90,
        "setup": ["module load a", "module load b"],
        "mem": "4GB",
        "additional_parameters": {"reservation": "x"},
    }
    with pytest.raises(trilemma.TrilemmaError, match="expected KEY=VALUE"):
        parse_options(["partition"])


def test_what_is_missing_is_said_before_anything_runs(
    tmp_path: Path, suite: Suites, monkeypatch: pytest.MonkeyPatch, command: Callable[..., Result]
) -> None:
    values, out = suite("gaussian"), tmp_path / "run"
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(trilemma.TrilemmaError, match="no Slurm here"):
        make_runner(values, out=out, executor="slurm")
    with pytest.raises(trilemma.TrilemmaError, match="no cluster 'lsf'"):
        make_runner(values, out=out, executor="slurm", slurm=["cluster=lsf"])
    with pytest.raises(trilemma.TrilemmaError, match="no executor 'pbs'"):
        make_runner(values, out=out, executor="pbs")
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "submitit" else found(name))
    with pytest.raises(trilemma.TrilemmaError, match=r"pip install 'trilemma\[slurm\]'"):
        make_runner(values, out=out, executor="slurm", slurm=["cluster=local"])
    assert not out.exists()
    assert "--cancel needs --executor slurm" in command("run", "quick", "--cancel").output


def test_a_job_does_not_replace_what_was_trained_meanwhile(finished: Path, finished_copy: Path) -> None:
    home, part = Store(finished_copy), Part(finished_copy / "parts" / NAME)
    id = home.run()["cells"][0]["id"]
    (part.folder / "cells").mkdir(parents=True)
    part.store.commit("cells", id, {"outcome": "killed", "phase": "job", "elapsed": 1.0, "message": ""})
    entry = '{"train": true, "evaluations": [], "timings": [], "replay": null, "attempt": 0}'
    (part.folder / "part.json").write_text(f'{{"format": 1, "cells": {{"{id}": {entry}}}}}')
    assert part.merge(home)
    assert home.record("cells", id) == Store(finished).record("cells", id)


def test_folders_of_somebody_else_among_the_parts_stay(tmp_path: Path) -> None:
    mine, gone = tmp_path / "parts" / "mine", tmp_path / "parts" / NAME
    for folder in (mine, gone, tmp_path / "parts" / "jobs"):
        folder.mkdir(parents=True)
        (folder / "thesis.txt").write_text("three years of work")
    assert list(existing_parts(Store(tmp_path))) == []
    remove_parts(Store(tmp_path))
    assert [path.name for path in (tmp_path / "parts").iterdir()] == ["mine"]
    assert (mine / "thesis.txt").exists()


@pytest.mark.parametrize("name", ["../../elsewhere", "/tmp", ""])
def test_a_part_that_names_other_paths_is_refused(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "parts" / NAME
    folder.mkdir(parents=True)
    entry = f'{{"train": true, "evaluations": ["{name}"], "timings": [], "replay": null, "attempt": 0}}'
    (folder / "part.json").write_text(f'{{"format": 1, "cells": {{"abc": {entry}}}}}')
    (part,) = existing_parts(Store(tmp_path))
    with pytest.raises(ValueError, match="damaged"):
        _ = part.cells
