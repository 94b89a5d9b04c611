"""The boundary to the code of plugins: what they raise is their error, and what they print goes to standard error."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
import traceback
from functools import cache
from types import FrameType, TracebackType
from typing import Any, NoReturn

from .errors import PluginError

LONGEST_MESSAGE = 4_000


class PluginExitError(PluginError):
    """Code of a plugin tried to end the process: by SystemExit, KeyboardInterrupt or the like, or by `os._exit`."""


class ExitCallError(BaseException):
    """Raised in place of a call of `os._exit`, which would end the process without a word."""


class boundary:  # noqa: N801 - it is used like a function
    """Run code of a plugin inside the block.

    An exception that would end the process (SystemExit, KeyboardInterrupt, GeneratorExit and the like) leaves the block
    as PluginExitError, which is a PluginError, and so does a call of `os._exit`, except in a process that the block has
    forked. A Ctrl-C of the user stays a KeyboardInterrupt, also if the plugin catches it. In the main thread, the
    working directory is the same after the block. With `quiet`, what the block prints goes to standard error, so that
    standard output holds results only.
    """

    def __init__(self, *, quiet: bool = True) -> None:
        self._quiet = quiet
        self._by_user = False
        self._previous: Any = None
        self._folder = ""

    def __enter__(self) -> boundary:
        if threading.current_thread() is threading.main_thread():  # signals reach no other thread
            previous = signal.getsignal(signal.SIGINT)
            if callable(previous):
                self._previous = previous
                signal.signal(signal.SIGINT, self._interrupted)
            self._folder = _folder()
        _EXIT.guard()
        if self._quiet:
            _OUTPUT.divert()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._quiet:
            _OUTPUT.restore()
        _EXIT.release()
        if self._folder and _folder() != self._folder:
            with contextlib.suppress(OSError):  # it was removed
                os.chdir(self._folder)
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)
        if self._by_user and isinstance(error, KeyboardInterrupt):
            return
        if self._by_user and self._raises:
            raise KeyboardInterrupt from error  # the plugin has caught it
        if error is not None and not isinstance(error, Exception):
            what = str(error) if isinstance(error, ExitCallError) else _name_and_text(error)
            message = f"{what} (code of a plugin must not end the process)"
            raise PluginExitError(message).with_traceback(trace) from error

    @property
    def _raises(self) -> bool:
        """Whether Ctrl-C raises KeyboardInterrupt outside the block."""
        around = getattr(self._previous, "__self__", None)
        return around._raises if isinstance(around, boundary) else self._previous is signal.default_int_handler

    def _interrupted(self, number: int, frame: FrameType | None) -> None:
        self._by_user = True
        self._previous(number, frame)


def end_process(status: int) -> NoReturn:
    """End this process at once, also while code of a plugin runs in another thread of it."""
    _EXIT.end(status)


def described(error: BaseException) -> str:
    """An error of a plugin in words: its type and message, cut to a sensible length."""
    if isinstance(error, PluginExitError):
        return str(error)
    try:
        with boundary():
            return _name_and_text(error)
    except Exception:  # its own __str__ raises
        return type(error).__name__


def line_in(error: BaseException, file: str) -> int:
    """The line of a file where an error comes from, the deepest one in this file; 0 if it does not come from there."""
    if isinstance(error, SyntaxError) and error.filename == file:
        return error.lineno or 0
    lines = [frame.lineno or 0 for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return lines[-1] if lines else 0


def _name_and_text(error: BaseException) -> str:
    text = str(error)
    text = text if len(text) <= LONGEST_MESSAGE else f"{text[:LONGEST_MESSAGE]}… ({len(text):,} characters)"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _folder() -> str:
    """The working directory; empty if it was removed."""
    with contextlib.suppress(OSError):
        return os.getcwd()
    return ""


class _Exit:
    """`os._exit`, which raises an error in this process while code of a plugin runs in it."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._depth = self._process = 0
        self._exit = os._exit

    def guard(self) -> None:
        with self._lock:
            if self._process != os.getpid():  # at the start, and in a process that was forked inside a block
                self._process, self._depth = os.getpid(), 0
            self._depth += 1
            os._exit = self._call

    def release(self) -> None:
        with self._lock:
            if self._process != os.getpid():
                return  # this process was forked inside the block
            self._depth = max(0, self._depth - 1)
            if not self._depth:
                os._exit = self._exit

    def end(self, status: int) -> NoReturn:
        """What `os._exit` does."""
        self._exit(status)

    def _call(self, status: int) -> NoReturn:
        # A plugin may have kept this function, and a process that it has forked ends by it.
        if self._depth > 0 and os.getpid() == self._process:
            raise ExitCallError(f"os._exit({status})")
        self._exit(status)


class _Output:
    """Standard output, which several threads may divert to standard error at the same time."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._depth = 0
        self._stream: Any = None
        self._descriptor = -1

    def divert(self) -> None:
        with self._lock:
            self._depth += 1
            if self._depth > 1:
                return
            self._stream, self._descriptor = sys.stdout, -1
            _flush(self._stream)
            with contextlib.suppress(OSError):  # standard output or standard error is closed
                self._descriptor = os.dup(1)
                os.dup2(2, 1)
            sys.stdout = sys.stderr

    def restore(self) -> None:
        with self._lock:
            self._depth -= 1
            if self._depth:
                return
            for stream in (sys.stdout, self._stream, sys.__stdout__):
                _flush(stream)
            with contextlib.suppress(OSError, AttributeError):
                _libc().fflush(None)  # what C code has printed and not written yet
            if sys.stdout is sys.stderr:  # not if something else was put there meanwhile
                sys.stdout = self._stream
            if self._descriptor >= 0:
                os.dup2(self._descriptor, 1)
                os.close(self._descriptor)


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)


def _flush(stream: Any) -> None:
    with contextlib.suppress(OSError, ValueError, AttributeError):
        stream.flush()


_OUTPUT, _EXIT = _Output(), _Exit()
