"""The downloader against a loopback server that misbehaves in every way, and a kill in the middle."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import trilemma
from trilemma.datasets import commands
from trilemma.datasets.download import RemoteFile, cache_folder, cached, fetch, is_intact

CONTENT = np.random.RandomState(0).bytes(3_000_000)
CHECKSUM = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"

Behavior = Callable[["Handler", int], None]


class Handler(BaseHTTPRequestHandler):
    """Answers each request by the behavior that its path names; `number` counts the requests of a path."""

    server: Server

    def do_GET(self) -> None:
        name = self.path.strip("/")
        with self.server.lock:
            self.server.requests.append((name, self.headers.get("Range")))
            number = sum(seen == name for seen, _ in self.server.requests)
        BEHAVIORS[name](self, number)

    @property
    def start(self) -> int:
        wanted = self.headers.get("Range")
        return int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0

    def send(self, content: bytes, start: int = 0, end: int | None = None, pause: float = 0) -> None:
        """Promise `content` from `start`, and deliver it up to `end`."""
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        for place in range(start, len(content) if end is None else end, 200_000):
            self.wfile.write(content[place : min(place + 200_000, len(content) if end is None else end)])
            time.sleep(pause)

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[tuple[str, str | None]] = []
        self.lock = threading.Lock()

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are part of these tests."""

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{name}"


def good(handler: Handler, number: int) -> None:
    if handler.start >= len(CONTENT):
        handler.send_error(416)
    else:
        handler.send(CONTENT, handler.start)


def truncating(handler: Handler, number: int) -> None:
    handler.send(CONTENT, handler.start, min(len(CONTENT), handler.start + 1_000_000))


def ignoring_range(handler: Handler, number: int) -> None:
    handler.send(CONTENT, 0, 1_000_000 if number == 1 else None)


def stalling(handler: Handler, number: int) -> None:
    if number == 1:
        handler.send(CONTENT, 0, 500_000)
        time.sleep(3)
    else:
        good(handler, number)


def wrong(handler: Handler, number: int) -> None:
    handler.send(CONTENT[::-1])


def missing(handler: Handler, number: int) -> None:
    handler.send_error(404)


def overloaded(handler: Handler, number: int) -> None:
    handler.send_error(503) if number <= 2 else good(handler, number)


def slow(handler: Handler, number: int) -> None:
    handler.send(CONTENT, handler.start, pause=0.2 if number == 1 else 0)


BEHAVIORS: dict[str, Behavior] = {
    f.__name__: f for f in (good, truncating, ignoring_range, stalling, wrong, missing, overloaded, slow)
}


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRILEMMA_DATA", str(tmp_path / "cache"))
    monkeypatch.delenv("TRILEMMA_DOWNLOAD", raising=False)
    return tmp_path / "cache"


def remote(server: Server, *names: str) -> RemoteFile:
    return RemoteFile("set/file.bin", tuple(server.url(name) for name in names), CHECKSUM)


@pytest.mark.parametrize("name", ["good", "truncating", "ignoring_range", "stalling", "overloaded"])
def test_arrives_whole(server: Server, name: str) -> None:
    path = fetch(remote(server, name), timeout=0.5)
    assert path.read_bytes() == CONTENT
    assert not path.with_name("file.bin.part").exists()


def test_truncated_transfers_are_continued_not_repeated(server: Server) -> None:
    fetch(remote(server, "truncating"))
    assert [wanted for _, wanted in server.requests] == [None, "bytes=1000000-", "bytes=2000000-"]


def test_a_part_left_by_an_earlier_process_is_continued(server: Server, cache: Path) -> None:
    (cache / "set").mkdir(parents=True)
    (cache / "set" / "file.bin.part").write_bytes(CONTENT[:1_234_567])
    assert fetch(remote(server, "good")).read_bytes() == CONTENT
    assert server.requests == [("good", "bytes=1234567-")]


@pytest.mark.parametrize("leftover", [b"rubbish" * 1000, CONTENT + b"more", CONTENT[:-5] + b"wrong"])
def test_a_part_of_something_else_is_dropped(server: Server, cache: Path, leftover: bytes) -> None:
    (cache / "set").mkdir(parents=True)
    (cache / "set" / "file.bin.part").write_bytes(leftover)
    assert fetch(remote(server, "good")).read_bytes() == CONTENT


def test_a_whole_part_needs_no_second_transfer(server: Server, cache: Path) -> None:
    (cache / "set").mkdir(parents=True)
    (cache / "set" / "file.bin.part").write_bytes(CONTENT)
    assert fetch(remote(server, "good")).read_bytes() == CONTENT
    assert server.requests == [("good", "bytes=3000000-")]


@pytest.mark.parametrize("first", ["wrong", "missing"])
def test_the_next_mirror_is_tried(server: Server, first: str) -> None:
    assert fetch(remote(server, first, "good")).read_bytes() == CONTENT
    assert [name for name, _ in server.requests] == [first, "good"]


def test_wrong_bytes_are_never_kept(server: Server, cache: Path) -> None:
    with pytest.raises(trilemma.DataError, match="wrong content: sha256:") as caught:
        fetch(remote(server, "wrong"))
    assert CHECKSUM in str(caught.value)
    assert [path.name for path in (cache / "set").iterdir()] == ["file.bin.lock"]


def test_a_damaged_file_in_the_cache_is_fetched_again_and_an_intact_one_is_not(server: Server) -> None:
    file = remote(server, "good")
    path = fetch(file)
    fetch(file)
    assert len(server.requests) == 1
    path.write_bytes(CONTENT[:-1])
    assert not is_intact(file)
    assert fetch(file).read_bytes() == CONTENT


def test_offline_error_has_address_checksum_and_place(server: Server, cache: Path) -> None:
    file = RemoteFile("set/file.bin", ("http://127.0.0.1:9/file.bin",), CHECKSUM)
    with pytest.raises(trilemma.DataError, match="cannot fetch") as caught:
        fetch(file, timeout=1)
    for part in ("http://127.0.0.1:9/file.bin", CHECKSUM, str(cache / "set" / "file.bin")):
        assert part in str(caught.value)


def test_no_network_unless_asked_for(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    file = remote(server, "good")
    for value in (None, "0", "false"):
        if value is not None:
            monkeypatch.setenv("TRILEMMA_DOWNLOAD", value)
        with pytest.raises(trilemma.DataError, match="downloads were not asked for"):
            cached(file)
    assert not server.requests
    monkeypatch.setenv("TRILEMMA_DOWNLOAD", "1")
    assert cached(file).read_bytes() == CONTENT


def test_a_kill_in_the_middle_loses_nothing(server: Server, cache: Path) -> None:
    file = remote(server, "slow")
    code = f"from trilemma.datasets.download import RemoteFile, fetch; fetch({file!r})"
    process = subprocess.Popen([sys.executable, "-c", code], env=os.environ | {"TRILEMMA_DATA": str(cache)})
    part = cache / "set" / "file.bin.part"
    deadline = time.monotonic() + 60
    while not (part.exists() and part.stat().st_size > 400_000) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = part.stat().st_size
    assert 400_000 < kept < len(CONTENT)
    assert not file.path().exists()
    assert fetch(file).read_bytes() == CONTENT
    assert server.requests[-1] == ("slow", f"bytes={kept}-")


def test_processes_that_want_one_file_fetch_it_once(server: Server) -> None:
    threads = [threading.Thread(target=fetch, args=(remote(server, "good"),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.requests) == 1


def test_cache_folder_is_the_users_unless_chosen(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    assert cache_folder() == cache
    monkeypatch.delenv("TRILEMMA_DATA")
    assert cache_folder().name == "trilemma"
    assert cache_folder().is_relative_to(Path.home())


def test_commands(server: Server, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    good, bad = remote(server, "good"), RemoteFile("bad.bin", (server.url("wrong"),), CHECKSUM)
    monkeypatch.setattr(commands, "remote_files", lambda: {"good-set": [good], "bad-set": [bad]})

    def run(*args: str) -> tuple[int, str]:
        result = CliRunner().invoke(commands.data, list(args))
        return result.exit_code, result.output

    assert run("list") == (
        0,
        f"{'good-set':<20} 0 of 1 files in the cache\n{'bad-set':<20} 0 of 1 files in the cache\n",
    )
    assert run("fetch", "good-set")[0] == 0
    assert "1 of 1" in run("list")[1]
    assert run("verify")[0] == 0
    code, output = run("fetch", "bad-set")
    assert code == 1
    assert "wrong content" in output
    good.path().write_bytes(b"damaged")
    code, output = run("verify")
    assert code == 1
    assert "DAMAGED" in output
    assert run("path") == (0, f"{cache}\n")
    assert run("path", "good-set") == (0, f"{good.path()}\n")
    code, output = run("fetch", "nonsense")
    assert code == 2
    assert "known: good-set, bad-set" in output.replace("\n", " ")


def test_every_downloadable_dataset_says_where_its_files_come_from_and_belong(cache: Path) -> None:
    files = commands.remote_files()
    assert {"mnist", "kmnist", "fashion-mnist", "cifar10", "california-housing", "power", "gas"} <= set(files)
    for name, parts in files.items():
        for file in parts:
            algorithm, _, digest = file.checksum.partition(":")
            assert len(digest) == {"md5": 32, "sha256": 64}[algorithm], name
            assert file.path().is_relative_to(cache)
            assert file.urls
