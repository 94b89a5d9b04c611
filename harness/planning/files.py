"""The files of suites: the built-in ones, and those of users, which may be anything."""

from __future__ import annotations

import os
import stat
from importlib import resources
from pathlib import Path

from ..errors import Problem, SuiteError, did_you_mean
from ..text import brief

BUILTIN = resources.files("trilemma.harness.planning") / "suites"
MOST_BYTES = 4_000_000


def builtin_names() -> list[str]:
    """The names of the built-in suites."""
    return sorted(item.name.removesuffix(".toml") for item in BUILTIN.iterdir() if item.name.endswith(".toml"))


def read_text(source: str | Path) -> tuple[str, str]:
    """The text of a suite and the name of its file, from the name of a built-in suite or a path. Raises SuiteError."""
    path = Path(source)
    builtin = BUILTIN / f"{source}.toml"
    if path.suffix != ".toml" and not path.is_file() and builtin.is_file():
        return builtin.read_text(encoding="utf-8"), f"{source}.toml (built in)"
    content = b""
    try:
        content = _content(path)
        return content.decode("utf-8").replace("\r\n", "\n"), str(source)
    except FileNotFoundError:
        hint = f"{did_you_mean(str(source), builtin_names())}; or give a path to a .toml file"
        raise SuiteError([Problem(f"there is no suite '{source}'", suggestion=hint)]) from None
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        message = f"the suite is no text in UTF-8: byte 0x{content[error.start]:02x} cannot be read"
        raise SuiteError([Problem(message, str(source), line)]) from None
    except (OSError, ValueError) as error:
        raise SuiteError([Problem(f"suite {brief(source)} cannot be read: {error}")]) from None


def _content(path: str | Path) -> bytes:
    """The content of a regular file that is not too large.

    Raises OSError if it cannot be read, and ValueError with a message if it is no file of a suite.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe without a writer would wait for ever
    try:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            raise ValueError("it is no regular file, but a folder, pipe or device")
        if about.st_size > MOST_BYTES:
            raise ValueError(f"it has {about.st_size:,} bytes; a suite has at most {MOST_BYTES:,}")
        content = b""
        while len(content) < MOST_BYTES and (more := os.read(descriptor, MOST_BYTES)):
            content += more
        return content
    finally:
        os.close(descriptor)
