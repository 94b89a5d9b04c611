"""The parts of the Dask executor that need no cluster: which worker a cell goes to, parcels, and installations."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import trilemma
from trilemma.harness.store.store import Store

pytest.importorskip("distributed")

from trilemma.harness.execution.on_dask.hosts import Host
from trilemma.harness.execution.on_dask.installation import differences, installation
from trilemma.harness.execution.on_dask.orders import Entry, choose, order_for
from trilemma.harness.execution.on_dask.parcel import MOST_PARTIAL, deliver, pack, pack_partial, unpack
from trilemma.harness.execution.on_dask.task import _of_environment
from trilemma.harness.planning import elsewhere
from trilemma.harness.planning.suite import Limits


def entry(losses: int = 0, host: Host | None = None) -> Entry:
    made: Any = Entry(None, Future(), losses=losses)  # type: ignore[arg-type]
    if host is not None:
        made.take(host)
    return made


def test_cells_are_spread_over_workers() -> None:
    hosts = [Host("a", True, (None, None)), Host("b", True, (None, None))]
    running = [entry(host=hosts[0])]
    chosen = choose([entry(), entry(), entry(), entry()], running, hosts)
    assert [host.address for _, host in chosen] == ["b", "a", "b"]


def test_a_cell_that_was_lost_runs_alone() -> None:
    hosts = [Host("a", True, (None, None)), Host("b", True, (None, None))]
    first, suspect, other = entry(host=hosts[0]), entry(losses=1), entry()
    chosen = choose([suspect, other], [first], hosts)
    assert [(item, host.address) for item, host in chosen] == [(suspect, "b"), (other, "a")]
    for item, host in chosen:
        item.take(host)
    assert not choose([entry()], [first, suspect, other], hosts)


def test_a_worker_is_cleared_for_a_cell_that_was_lost() -> None:
    host = Host("a", True, (None, None))
    first, suspect, other = entry(host=host), entry(losses=1), entry()
    assert not choose([suspect, other], [first], [host])
    first.leave()
    assert choose([suspect, other], [], [host]) == [(suspect, host)]


def test_a_parcel_carries_a_cell_bit_for_bit(tmp_path: Path, finished: Path) -> None:
    cell = next((finished / "cells").iterdir()).name
    parcel = pack(finished, [("cells", cell), ("evaluations", "absent")], [f"{cell}.log"])
    with Store(tmp_path).writing():
        deliver(parcel, Store(tmp_path))
    for file in ("model.safetensors",):
        assert (tmp_path / "cells" / cell / file).read_bytes() == (finished / "cells" / cell / file).read_bytes()
    sent, came = (Store(path).record("cells", cell) for path in (finished, tmp_path))
    assert sent is not None
    assert came is not None
    assert came["training"] == sent["training"]
    assert (tmp_path / "logs" / f"{cell}.log").read_bytes() == (finished / "logs" / f"{cell}.log").read_bytes()


def test_a_parcel_carries_the_state_of_a_training_until_its_cell_is_there(tmp_path: Path) -> None:
    there, here = Store(tmp_path / "there"), Store(tmp_path / "here")
    with there.writing(), here.writing():
        assert pack_partial(there.path, "c") == {}
        (there.path / "partial" / "c.safetensors").write_bytes(b"step 7")
        (here.path / "partial" / "c.safetensors").write_bytes(b"step 3")
        deliver(pack_partial(there.path, "c"), here)
        assert [file.read_bytes() for file in (here.path / "partial").iterdir()] == [b"step 7"]
        there.commit("cells", "c", {"outcome": "error", "phase": "fit", "elapsed": 1.0, "message": ""})
        deliver(pack(there.path, [("cells", "c")]), here)
        assert not list((here.path / "partial").iterdir())


def test_a_state_that_is_too_large_is_not_sent_and_the_reason_is_said(tmp_path: Path) -> None:
    (tmp_path / "partial").mkdir()
    with (tmp_path / "partial" / "c.safetensors").open("wb") as stream:
        stream.truncate(MOST_PARTIAL)
        assert len(pack_partial(tmp_path, "c")["partial/c.safetensors"]) == MOST_PARTIAL
        stream.truncate(MOST_PARTIAL + 1)
    said: list[str] = []
    setting: Any = SimpleNamespace(
        store=Store(tmp_path), message=said.append, limits=Limits(), env={}, plugin_files=(),
        machine=SimpleNamespace(threads=1, device="cpu"),
    )  # fmt: skip
    given: Any = entry()
    given.work = SimpleNamespace(job={"id": "c", "train": True}, cell=SimpleNamespace(id="c", label="patient on moons"))
    assert order_for(given, "run", setting, shared=False)["parcel"] == {}
    assert "patient on moons: its checkpoint of 64 MiB is not sent" in said[0]
    assert "anew" in said[0]


@pytest.mark.parametrize("file", ["record.json", "model.safetensors"])
def test_a_damaged_parcel_is_refused(tmp_path: Path, finished: Path, file: str) -> None:
    cell = next((finished / "cells").iterdir()).name
    parcel = pack(finished, [("cells", cell)])
    parcel[f"cells/{cell}/{file}"] = parcel[f"cells/{cell}/{file}"][:-20]
    with Store(tmp_path).writing(), pytest.raises(trilemma.StoreError, match="arrived damaged"):
        deliver(parcel, Store(tmp_path))
    assert not list((tmp_path / "cells").iterdir())


@pytest.mark.parametrize(
    "path", ["../x", "cells/../../x", "/etc/x", "run.json", "cells/a/b/c", "logs/../run.json", "partial/a/b"]
)
def test_a_parcel_stays_in_its_folders(tmp_path: Path, path: str) -> None:
    with pytest.raises(trilemma.StoreError, match="does not belong to a cell"):
        unpack({path: b""}, tmp_path / "store")


def test_what_differs_between_installations() -> None:
    here = installation()
    assert differences(here, here) == ([], [])
    decisive, rest = differences(here, {**here, "torch": "0", "scipy": "0", "source": "x"})
    assert [text.split(" is ")[0] for text in decisive] == ["the source code of trilemma", "torch"]
    assert [text.split(" is ")[0] for text in rest] == ["scipy"]


def interpreter(path: Path, script: str) -> str:
    """A program in the place of the interpreter of a plugin."""
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def test_a_worker_with_another_environment_of_a_plugin_says_what_it_needs(tmp_path: Path) -> None:
    python = interpreter(tmp_path / "python", "echo 89ab")
    model = {"environment": python, "plugin": "old.py", "source": "0123 4567"}
    with pytest.raises(trilemma.PluginError, match=rf"{python} on .* under the same path with the same packages"):
        _of_environment(model, 1)
    assert _of_environment({"environment": "", "source": "0123"}, 1) is None


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (None, "cannot be started: .*No such file"),
        ("exec sleep 20", "gave no answer within 0.5 s"),
        ("echo 89ab; echo no torch >&2; exit 1", "did not say which packages it has: no torch"),
        ("exit 0", "did not say which packages it has: it said nothing"),
    ],
    ids=["missing", "slow", "failing", "silent"],
)
def test_an_environment_that_gave_no_answer_once_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None, reason: str
) -> None:
    path = tmp_path / "python"
    model = {"environment": str(path), "plugin": "old.py", "source": "0123 4567"}
    if script is not None:
        interpreter(path, script)
    monkeypatch.setattr(elsewhere, "SECONDS", 0.5)
    with pytest.raises(trilemma.PluginError, match=f"plugin old.py .*{reason}"):
        _of_environment(model, 1)
    monkeypatch.undo()
    interpreter(path, "echo 4567")
    assert elsewhere.packages_of(str(path)) == "4567"
    interpreter(path, "echo 89ab")
    assert elsewhere.packages_of(str(path)) == "4567"  # an answer is kept
