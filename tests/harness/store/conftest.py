"""What the tests of the store share: ways to damage a file, and what must be the same after a repair."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

import trilemma


def damage_file(file: Path, way: str) -> None:
    """Damage a file of a run directory in one of several ways."""
    content = file.read_bytes()
    if way == "flipped bit":
        place = 2 * len(content) // 3
        file.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    elif way == "cut":
        file.write_bytes(content[: len(content) // 2])
    elif way == "empty":
        file.write_bytes(b"")
    elif way == "deleted":
        file.unlink()
    elif way == "folder":
        file.unlink()
        file.mkdir()
    elif way == "link":
        shutil.copy(file, file.parents[1] / "elsewhere")
        file.unlink()
        file.symlink_to(file.parents[1] / "elsewhere")
    elif way == "no permission":
        file.chmod(0)
    elif way == "another shape":
        file.write_text(json.dumps([{"outcome": "ok", "results": 3}]))
    elif way == "deep":
        file.write_text("[" * 100_000)
    elif way == "edited":
        edited = content.replace(b'"ok"', b'"error"').replace(b"1", b"7")
        file.write_bytes(edited if edited != content else content[:-1] + bytes([content[-1] ^ 1]))
    else:
        raise AssertionError(way)


WAYS = ("flipped bit", "cut", "empty", "deleted", "folder", "link", "another shape", "deep", "edited")


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    """Each way to damage a file."""
    return str(request.param)


@pytest.fixture(scope="session")
def damage() -> Callable[[Path, str], None]:
    """`damage_file`."""
    return damage_file


def what_counts(path: Path) -> tuple[pd.DataFrame, dict[str, str]]:
    """All that a repeat must give again, bit for bit: results without times, and the checksums of tensors."""
    frame = trilemma.load_results(path).drop(columns=["elapsed"])
    tensors = [file for kind in ("cells", "evaluations", "data") for file in (path / kind).rglob("*.safetensors")]
    return frame, {str(file.relative_to(path)): hashlib.sha256(file.read_bytes()).hexdigest() for file in tensors}


@pytest.fixture(scope="session")
def assert_same() -> Callable[[Path, Path], None]:
    """Asserts that two run directories hold the same results, bit for bit."""

    def check(one: Path, other: Path) -> None:
        (frame, tensors), (expected, expected_tensors) = what_counts(one), what_counts(other)
        pd.testing.assert_frame_equal(frame, expected, check_exact=True)
        assert tensors == expected_tensors

    return check


@pytest.fixture(autouse=True)
def _light(light: None) -> None:
    """Without reports."""
