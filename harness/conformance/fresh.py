"""A process that has seen nothing of a plugin yet: what only holds in the process that trained is found there.

A server is started once. It loads torch and forks itself for each question, so that an answer takes milliseconds. It
has another hash seed and another working directory than the process that asks.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import importlib.util
import json
import os
import selectors
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..boundary import described, end_process
from ..errors import PluginError, UnsupportedError

LONGEST = 300.0
"""Seconds to wait for an answer."""


def ask(question: str, cls: type[Any], tensors: Mapping[str, Tensor] | None = None, **values: Any) -> Answer:
    """The answer of a fresh process to a question: a function `module:name` of the harness.

    The function gets the class `cls` as the fresh process imports it, the folder with `tensors`, and the values.
    Raises UnsupportedError for a class that cannot be imported there, and PluginError if the plugin fails there.
    """
    if "<locals>" in cls.__qualname__ or _file(cls) is None:
        raise UnsupportedError(f"class {cls.__name__} is defined in no file, so no other process can import it")
    with tempfile.TemporaryDirectory() as folder:
        if tensors:
            save_file({key: value.detach().contiguous().cpu() for key, value in tensors.items()}, f"{folder}/given")
        request = {
            "question": question,
            "class": {"module": cls.__module__, "file": _file(cls), "name": cls.__qualname__},
            "path": [os.path.abspath(path) for path in sys.path],
            "folder": folder,
            "values": values,
        }
        told = _server().ask(request)
        if "error" in told:
            raise PluginError(f"in a new process: {told['error']}\n{told['traceback']}")
        found = Path(folder, "found")
        return Answer(told["value"], load_file(found) if found.exists() else {})


class Answer:
    """The answer of a fresh process: a JSON value and tensors."""

    def __init__(self, value: Any, tensors: dict[str, Tensor]) -> None:
        self.value, self.tensors = value, tensors


def import_seconds(cls: type[Any]) -> float:
    """The CPU seconds that a new process takes to import the module with the hooks of a class."""
    seconds: float = ask(f"{__name__}:import_seconds_there", cls).value
    return seconds


def import_seconds_there(cls: type[Any], given: dict[str, Tensor]) -> Answer:
    """Asked in a new process: the CPU seconds that the import took there."""
    return Answer(_imported[cls], {})


_imported: dict[type[Any], float] = {}


def _file(cls: type[Any]) -> str | None:
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    return None if file is None else os.path.abspath(file)


def _import(place: Mapping[str, str]) -> type[Any]:
    """The class, by the name of its module if that leads to the same file, else from the file."""
    started = time.process_time()
    for entry in metadata.entry_points(group="trilemma"):
        if entry.module.split(".")[0] == place["module"].split(".")[0]:
            importlib.import_module(entry.module)
    spent = time.process_time() - started
    module = None
    with contextlib.suppress(ImportError):
        module = importlib.import_module(place["module"])
    if os.path.abspath(getattr(module, "__file__", None) or "") != place["file"]:
        spec = importlib.util.spec_from_file_location(place["module"], place["file"])
        if spec is None or spec.loader is None:
            raise ImportError(f"{place['file']} is not a Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[place["module"]] = module
        spec.loader.exec_module(module)
    if any(name.startswith("trilemma_") for name in vars(module)):
        spent = time.process_time() - started
    found: Any = module
    for part in place["name"].split("."):
        found = getattr(found, part)
    _imported[found] = spent
    return found  # type: ignore[no-any-return]


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    """Answer a question, in the fresh process."""
    try:
        sys.path[:] = request["path"]
        given = Path(request["folder"], "given")
        cls = _import(request["class"])
        module, _, name = request["question"].partition(":")
        function = getattr(importlib.import_module(module), name)
        answer: Answer = function(cls, load_file(given) if given.exists() else {}, **request["values"])
        if answer.tensors:
            tensors = {key: value.detach().contiguous().clone() for key, value in answer.tensors.items()}
            save_file(tensors, str(Path(request["folder"], "found")))
        return {"value": answer.value}
    except BaseException as error:
        return {"error": described(error), "traceback": "".join(traceback.format_exception(error)[-6:])}


class _Server:
    """The server process, as the process that asks sees it."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONHASHSEED"}
        self._process = subprocess.Popen(
            [sys.executable, "-c", f"import sys; sys.path[:] = {sys.path!r}; import {__name__} as m; m.serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=self._folder.name,
            env=environment,
        )
        atexit.register(self.end)

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send a request and wait for its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            if not selector.select(LONGEST):
                self.end()
                raise PluginError(f"in a new process there was no answer for {LONGEST:g} s")
        line = self._process.stdout.readline()
        if not line:
            self.end()
            raise PluginError("a new process ended before it could answer")
        told: dict[str, Any] = json.loads(line)
        return told

    def end(self) -> None:
        """End the process."""
        _server.cache_clear()
        atexit.unregister(self.end)
        self._process.kill()
        self._process.communicate()
        self._folder.cleanup()


@cache
def _server() -> _Server:
    return _Server()


def serve() -> None:
    """Answer questions from standard input until it ends, each in a fork of this process."""
    torch.set_num_threads(1)  # a fork must have no other threads
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a plugin prints is no answer
    for line in sys.stdin.buffer:
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(read)
            with os.fdopen(write, "wb") as pipe:
                pipe.write(json.dumps(_answer(json.loads(line))).encode())
            sys.stdout.flush()
            sys.stderr.flush()
            end_process(0)
        os.close(write)
        with os.fdopen(read, "rb") as pipe:
            reply = pipe.read()
        os.waitpid(child, 0)
        out.write((reply or json.dumps({"error": "the process died", "traceback": ""}).encode()) + b"\n")
        try:
            out.flush()
        except BrokenPipeError:  # the process that asked has ended
            end_process(0)
