"""The memory of finished runs. A run that would find nothing to do is recognized without importing a plugin.

When a run ends and leaves nothing to do, what led to this is written into the user's cache folder: every file that the
process read, the state of the run directory, and the report. If all is as it was, the run is finished still.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import platformdirs

from ..memo import file_stamp
from ..store.claim import PARTS
from ..store.files import read_json, write_json
from ..store.store import Store
from .witness import Witness, unchanged

KEPT = 50  # runs that are remembered
_VOLATILE = {"COLUMNS", "PYTEST_CURRENT_TEST", "LINES", "OLDPWD", "PWD", "SHLVL", "TERM", "WINDOWID", "_"}
_SESSION = ("SSH_", "TMUX", "XDG_SESSION", "XDG_RUNTIME", "DBUS_", "GPG_", "LS_COLORS", "PS1")


@dataclass(frozen=True)
class Finished:
    """A run in which nothing is left to do, with the report that it has."""

    store: Store
    written: list[Path]
    problems: list[str] = field(default_factory=list)
    interrupted: bool = False


class Memory:
    """Remembers one run: `asked` is what was asked for (JSON), and `path` is the run directory.

    It works only in a process that has not loaded plugins for something else. `recall` must be called first.
    """

    def __init__(self, path: Path, asked: Mapping[str, Any]) -> None:
        self._store = Store(path)
        about = [sys.version, sys.path, os.getcwd(), str(path.absolute()), dict(asked), _environment()]
        key = hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode()).hexdigest()[:32]
        self._file = platformdirs.user_cache_path("trilemma") / "finished" / f"{key}.json"
        self._witness: Witness | None = None

    def recall(self) -> Finished | None:
        """The finished run, or None if it is not known that nothing is left to do."""
        if "torch" in sys.modules or os.path.lexists(self._store.path / PARTS):
            return None  # jobs on a cluster may have more to bring
        known = read_json(self._file) or {}
        if (
            unchanged(known.get("read", {}), self._store.path)
            and unchanged(known.get("written", {}))
            and known.get("state") == self.state()
        ):
            return Finished(self._store, [Path(file) for file in known["written"]])
        with contextlib.suppress(OSError):
            self._witness = Witness(self._store.path)
        return None

    def state(self) -> str:
        """The state of all records of the run directory."""
        return _state(self._store.path)

    def also_read(self, read: Mapping[str, str]) -> None:
        """Take note of what another process has read for this run, with its stamps."""
        if self._witness is not None:
            self._witness.add(read)

    def remember(self, written: Iterable[Path], state: str) -> None:
        """Remember that nothing was left to do in this state, with the files that the report wrote."""
        read = self._witness.end() if self._witness is not None else {}
        if not read or state != self.state():
            return
        files = {str(file): file_stamp(file) for file in written}
        with contextlib.suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_json(self._file, {"read": read, "written": files, "state": state})
            by_age = sorted(self._file.parent.glob("*.json"), key=lambda file: file.stat().st_mtime)
            for file in by_age[:-KEPT]:
                file.unlink()


def _environment() -> dict[str, str]:
    """The environment variables on which the import of a module may depend."""
    return {
        name: value for name, value in os.environ.items() if name not in _VOLATILE and not name.startswith(_SESSION)
    }


def _state(path: Path) -> str:
    """The state of all files of a run directory that hold results: their names, sizes and times, not their bytes."""
    digest = hashlib.sha256()
    for file in ("trilemma.json", "run.json"):
        digest.update(file_stamp(path / file).encode())
    for kind in ("cells", "evaluations", "data"):
        names = _listed(path / kind)
        for name in names:
            for file in _listed(path / kind / name):
                digest.update(f"\n{kind} {name} {file} {file_stamp(path / kind / name / file)}".encode())
    return digest.hexdigest()


def _listed(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []
