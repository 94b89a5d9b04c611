"""What the code of a process was read from: files and folders, with their stamps when they were read.

If none of them has changed, another process that is asked the same would come to the same answer.
"""

from __future__ import annotations

import hashlib
import os
import sys
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..memo import file_stamp

_ELSEWHERE = ("/proc/", "/dev/", "/sys/")
_NO_CODE = ("__pycache__", ".git")


class Witness:
    """Notes every file that this process opens to read, and every folder that it lists, from now on.

    What Python itself has loaded before is noted at the start. `without` is a folder whose content does not count.
    Files are noted when they are opened, before they are read: a file that changes later has another stamp at the end.
    """

    def __init__(self, without: Path) -> None:
        self.stamps: dict[str, str] = {}
        self._active, self._failed = True, False
        self._listing: set[int] = set()
        """The threads that list a folder for a stamp."""
        self._without = os.path.abspath(without)
        for folder in sys.path:
            self._note(folder or ".", _listing)
            self._note_all(Path(folder or ".").glob("*.pth"))
        self._note_loaded()
        sys.addaudithook(self._hear)

    def end(self) -> dict[str, str]:
        """Stop, and return the stamps. They are empty if anything has changed since it was read."""
        self._active = False
        self._note_loaded()
        return {} if self._failed or not unchanged(self.stamps, self._without) else self.stamps

    def add(self, stamps: Mapping[str, str]) -> None:
        """Add what another process has noted. The whole is worth nothing if it noted nothing."""
        self._failed = self._failed or not stamps
        for path, stamp in stamps.items():
            self.stamps.setdefault(path, stamp)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._active or event not in ("open", "os.listdir", "os.scandir"):
            return
        place, thread = arguments[0], threading.get_ident()
        try:
            if event == "open":
                if _reads(*arguments[1:]):
                    self._note(place, _stamp)
            elif thread not in self._listing:  # the listing for the stamp is heard too
                self._listing.add(thread)
                self._note("." if place is None else place, _listing)
                self._listing.discard(thread)
        except Exception:  # an error here must not become one of the code that opens the file
            self._failed = True

    def _note_loaded(self) -> None:
        """Note the files of all loaded modules. Of most, Python has opened only the compiled code."""
        files = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
        self._note_all(file for file in files if isinstance(file, str))

    def _note_all(self, files: Iterable[str | Path]) -> None:
        for file in files:
            self._note(file, _stamp)

    def _note(self, place: Any, stamp: Any) -> None:
        if isinstance(place, int):
            return  # a folder that is open already
        path = os.path.abspath(os.fsdecode(place))
        if stamp is _stamp and path.endswith(".pyc"):
            path = _source(path)
        if not path.startswith(_ELSEWHERE) and not (path + os.sep).startswith(self._without + os.sep):
            self.stamps.setdefault(path, stamp(path, self._without))


def unchanged(stamps: Mapping[str, str], without: Path | str = "") -> bool:
    """Whether files and folders still have these stamps, and there are any."""
    without = os.path.abspath(without) if without else ""
    return bool(stamps) and all(
        stamp == (_listing if stamp.startswith("names ") else _stamp)(path, without) for path, stamp in stamps.items()
    )


def _stamp(path: str, without: str = "") -> str:
    return file_stamp(path)


def _listing(path: str, without: str = "") -> str:
    """The names in a folder. The folder in which `without` lies may be new, so its name does not count."""
    try:
        names = os.listdir(path)
    except OSError:
        return "names absent"
    inside = os.path.relpath(without, path).split(os.sep)[0] if without.startswith(path.rstrip(os.sep) + os.sep) else ""
    kept = sorted(name for name in names if name not in (*_NO_CODE, inside))
    return "names " + hashlib.sha256("\0".join(kept).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _reads(mode: Any, flags: Any) -> bool:
    if isinstance(mode, str):
        return not set(mode) & set("wax+")
    return isinstance(flags, int) and flags & os.O_ACCMODE == os.O_RDONLY


def _source(path: str) -> str:
    """The source of compiled code: `a/__pycache__/b.cpython-311.pyc` is compiled from `a/b.py`."""
    folder, name = os.path.split(path)
    if os.path.basename(folder) != "__pycache__":
        return path
    return os.path.join(os.path.dirname(folder), name.split(".")[0] + ".py")
