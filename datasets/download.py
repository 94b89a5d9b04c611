"""Downloads of files, which are resumed, verified and cached. Nothing is downloaded unless the user allows it."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import time
import urllib.error
import urllib.request
from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path

import platformdirs

import trilemma
from trilemma import DataError

_CHUNK = 1 << 18
_TRIES = 3  # attempts in a row without a new byte, per address


@dataclass(frozen=True)
class RemoteFile:
    """A file on the network: its name in the cache, its addresses (mirrors), and its checksum as `algorithm:hex`."""

    name: str
    urls: tuple[str, ...]
    checksum: str

    def path(self) -> Path:
        """The path of the file in the cache."""
        return cache_folder() / self.name


class Downloaded(trilemma.Dataset):
    """Base class of datasets from files on the network. A subclass gives `remote`."""

    @property
    @abstractmethod
    def remote(self) -> dict[str, RemoteFile]:
        """The files, by names that the dataset chooses."""


def cache_folder() -> Path:
    """The folder of downloaded data: the environment variable `TRILEMMA_DATA`, else the user's cache folder."""
    chosen = os.environ.get("TRILEMMA_DATA")
    return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("trilemma")


def downloads_allowed() -> bool:
    """Whether the user allows downloads (`TRILEMMA_DOWNLOAD=1`, which `--download` sets)."""
    return os.environ.get("TRILEMMA_DOWNLOAD", "0").lower() not in ("", "0", "no", "false")


def checksum_of(path: Path, algorithm: str) -> str:
    """The checksum of the content of a file, as `algorithm:hex`."""
    with path.open("rb") as file:
        return f"{algorithm}:{hashlib.file_digest(file, algorithm).hexdigest()}"


def is_intact(remote: RemoteFile) -> bool:
    """Whether the cache holds the file with the right checksum."""
    path = remote.path()
    return path.is_file() and checksum_of(path, remote.checksum.partition(":")[0]) == remote.checksum


def cached(remote: RemoteFile) -> Path:
    """The path of the file in the cache. It is fetched if it is missing or damaged and downloads are allowed.

    Raises DataError if downloads are not allowed or fail.
    """
    if is_intact(remote):
        return remote.path()
    if downloads_allowed():
        return fetch(remote)
    state = "is damaged" if remote.path().exists() else "is not there"
    hint = "downloads were not asked for (`trilemma data fetch`, or --download)"
    raise DataError(f"{remote.path()} {state} and {hint}. {_by_hand(remote)}")


def fetch(remote: RemoteFile, timeout: float = 30.0, progress: Callable[[int], None] = lambda size: None) -> Path:
    """Download the file into the cache, unless it is there and intact, and return its path.

    Bytes go to a `.part` file, which later attempts and later processes continue. Each mirror is tried until three
    attempts in a row bring no new byte. `timeout` is the number of seconds without data after which an attempt ends.
    `progress` gets the size so far. Raises DataError if no mirror gives the file.
    """
    target = remote.path()
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    with _alone(target.with_name(target.name + ".lock")):
        if is_intact(remote):
            return target
        complaints = []
        for url in remote.urls:
            complaint = _from_mirror(url, part, remote.checksum, timeout, progress)
            if complaint is None:
                os.replace(part, target)
                return target
            complaints.append(f"{url}: {complaint}")
    raise DataError(f"cannot fetch {remote.name}: {'; '.join(complaints)}. {_by_hand(remote)}")


def _by_hand(remote: RemoteFile) -> str:
    return f"To do it by hand, download {remote.urls[0]} ({remote.checksum}) to {remote.path()}"


def _from_mirror(url: str, part: Path, checksum: str, timeout: float, progress: Callable[[int], None]) -> str | None:
    """Complete `part` from one address. Returns a description of what went wrong, or None if its content is right."""
    failures, complaint = 0, ""
    while failures < _TRIES:
        before = part.stat().st_size if part.exists() else 0
        try:
            _transfer(url, part, timeout, progress)
        except urllib.error.HTTPError as error:
            if error.code == 416:  # no bytes follow: the part is complete, or it belongs to another file
                complaint = _judge(part, checksum)
                if not complaint:
                    return None
            else:
                complaint = f"HTTP {error.code}"
                if error.code < 500:
                    return complaint
        except (OSError, HTTPException) as error:
            complaint = str(error) or type(error).__name__
        else:
            complaint = _judge(part, checksum)
            if not complaint:
                return None
            if before == 0:
                return complaint
        after = part.stat().st_size if part.exists() else 0
        failures = 0 if after > before else failures + 1
        time.sleep(0.1 * failures)
    return complaint


def _judge(part: Path, checksum: str) -> str:
    """Check the content of `part`. Returns "" if it is right. Otherwise deletes it and returns what is wrong."""
    found = checksum_of(part, checksum.partition(":")[0])
    if found == checksum:
        return ""
    part.unlink()
    return f"wrong content: {found} instead of {checksum}"


def _transfer(url: str, part: Path, timeout: float, progress: Callable[[int], None]) -> None:
    """Append the missing bytes to `part`, or start again if the server ignores the header Range."""
    start = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "trilemma"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    with urllib.request.urlopen(request, timeout=timeout) as response:
        if start and not _continues(response, start):
            start = 0
        with part.open("ab" if start else "wb") as file:
            size = start
            while block := response.read(_CHUNK):
                file.write(block)
                size += len(block)
                progress(size)
        length = response.headers.get("Content-Length")
        if length is not None and size - start < int(length):
            raise ConnectionError(f"the transfer ended after {size - start} of {length} bytes")


def _continues(response: HTTPResponse, start: int) -> bool:
    """Whether the response begins at byte `start`, as requested."""
    return response.status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {start}-")


@contextlib.contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Hold a lock file, so that other processes that need the same file wait."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
