"""Absurd suites: each is refused with a message that names the limit, and its line, before anything grows large."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from trilemma import SuiteError
from trilemma.harness.planning.resolve import resolve
from trilemma.harness.planning.suite import read_document
from trilemma.harness.plugins import Registry

HEAD = 'name = "absurd"\nseeds = {seeds}\nbudget = {{ steps = 1 }}\n'
DATA = '[[datasets]]\nname = "ring8"\n'
MODEL = '[[models]]\nname = "gaussian"\n'
GOOD = HEAD.format(seeds=1) + DATA + MODEL
THREE_HUNDRED = str(list(range(2, 302)))


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry(builtin_only=True)


def refused(text: str, registry: Registry, tmp_path: Path, *assignments: str) -> str:
    """The message about a suite file of this text."""
    file = tmp_path / "absurd.toml"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))

    def read() -> None:
        document = read_document(file)
        document.override(assignments)
        resolve(document, registry)

    with pytest.raises(SuiteError) as caught:
        read()
    message = str(caught.value)
    assert len(message) < 100_000  # each unknown name comes with the list of all names
    return message.replace(str(file), "FILE")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD.format(seeds=300_000_000) + DATA + MODEL, "FILE:2: seeds: 300,000,000 seeds; at most 100,000"),
        (HEAD.format(seeds="9" * 30) + DATA + MODEL, "FILE:2: seeds: this whole number has more than 64 bits"),
        (HEAD.format(seeds="9" * 4_000) + DATA + MODEL, "FILE:2: seeds: this whole number has more than 64 bits"),
        (HEAD.format(seeds="0x" + "f" * 4_000) + DATA + MODEL, "FILE:2: seeds: this whole number has more than 64"),
        (HEAD.format(seeds="9" * 4_096) + DATA + MODEL, "FILE:2: "),
        (HEAD.format(seeds=90_000) + DATA + MODEL + '[[models]]\nname = "gmm"\n', "FILE:2: seeds: 180,000 cells"),
        (GOOD + f"config = {{ a = {'[' * 90}1{']' * 90} }}\n", "nested more than 32 levels deep"),
        (GOOD + f"config = {{ a = {'[' * 50_000}1{']' * 50_000} }}\n", "FILE:8: it is nested more than 32 levels deep"),
        (GOOD + f"config = {'{a=' * 9_000}1{'}' * 9_000}\n", "FILE:8: it is nested more than 32 levels deep"),
        (GOOD + f"config.{'a.' * 90_000}b = 1\n", "FILE:8: it is nested more than 32 levels deep"),
        (GOOD + f"[{'a.' * 90_000}b]\n", "FILE:8: it is nested more than 32 levels deep"),
        (GOOD + f"config = {{ a = [{'1,' * 300_000}1] }}\n", "FILE:8: the document has more than 100,000 keys"),
        (GOOD + "[[models]]\n" * 60_000, "more than 100,000 keys, values and marks"),
        (GOOD + f'config = {{ a = "{"a" * 3_000_000}" }}\n', "FILE:8: a text of 3,000,002 characters"),
        (GOOD.replace("absurd", "a" * 3_000_000), "FILE:1: a text of 3,000,002 characters"),
        (GOOD.replace("gaussian", "g" * 4_000), "FILE:7: models[0].name: no model named 'ggg"),
        (GOOD.replace("absurd", "a" * 300), "FILE:1: name: string should have at most 100 characters"),
        (GOOD + f'description = "{chr(92) * 1_000_000}"\n', "characters; at most"),
        (GOOD + '"""' + '\\"""' * 200_000, "FILE:8: "),
        (GOOD + "'''" + "''\n" * 200_000, "FILE:"),
        (GOOD + "# " + "x" * 4_000_000, "it has 4,000,"),
        (
            HEAD.format(seeds=1)
            + DATA
            + '[[models]]\nname = "realnvp"\n'
            + f"config = {{ transforms = {THREE_HUNDRED}, octaves = {THREE_HUNDRED},"
            + f" base_components = {THREE_HUNDRED} }}\n",
            "FILE:8: models[0].config: 27,000,000 combinations in this grid; at most 10,000",
        ),
        (
            HEAD.format(seeds=1)
            + DATA
            + '[[models]]\nname = "realnvp"\n'
            + f"config = {{ transforms = {THREE_HUNDRED} }}\nrecipe = {{ lr = {THREE_HUNDRED} }}\n",
            "models[0]: 90,000 combinations of config and recipe; at most 10,000",
        ),
        (
            HEAD.format(seeds=1)
            + DATA
            + '[[models]]\nname = "vp-sde"\n'
            + f'samplers = [{{ name = "heun", steps = {THREE_HUNDRED}, rho = {THREE_HUNDRED} }}]\n',
            "FILE:8: models[0].samplers[0]: 90,000 combinations in this grid; at most 10,000",
        ),
        (
            HEAD.format(seeds=1)
            + f'[[datasets]]\nname = "ring"\nconfig = {{ modes = {THREE_HUNDRED} }}\n'
            + f'[[models]]\nname = "realnvp"\nconfig = {{ transforms = {list(range(2, 402))} }}\n',
            "FILE:2: seeds: 120,000 cells (models x datasets x seeds); at most 100,000",
        ),
        (
            HEAD.format(seeds=50_000)
            + DATA
            + f'[[models]]\nname = "vp-sde"\nsamplers = [{{ name = "heun", steps = {THREE_HUNDRED} }}]\n',
            "FILE:6: models: 15,050,000 evaluations",
        ),
        (GOOD.replace("gaussian", "gauss\xe9").encode().decode("latin-1"), "FILE:7: models[0].name: "),
        (GOOD.replace("gaussian", "gauss\udcff"), "FILE:7: the suite is no text in UTF-8: byte 0xed"),
        ("[" * 60, "FILE:"),
    ],
    ids=lambda value: value[:40] if len(value) < 200 else f"{len(value)} characters",
)
def test_an_absurd_suite_is_refused_with_its_line(text: str, message: str, registry: Registry, tmp_path: Path) -> None:
    assert message in refused(text, registry, tmp_path)


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("seeds=300000000", "300,000,000 seeds"),
        (f"seeds={'9' * 5_000}", "a text of 5,000 characters"),
        (f"models.gaussian.config.x={'[' * 50_000}", "nested more than 32 levels"),
        (f"{'a.' * 40_000}b=1", "the path has 40,001 parts"),
        ("models.\N{SUPERSCRIPT TWO}.name='x'", "has no element"),
        (f"models.{'9' * 5_000}.name='x'", "4,096 are possible"),
        ('description="a\\u202eb"', "holds the invisible mark U+202E"),
        ('description="a\\u0000b"', "holds the control character U+0000"),
        ("description='''a\nb'''", "holds a line break"),
        (f"models.gaussian.config.x={'{a=' * 40}1{'}' * 40}", "nested more than 32 levels"),
    ],
    ids=lambda value: value[:30],
)
def test_an_absurd_assignment_is_refused(assignment: str, message: str, registry: Registry, tmp_path: Path) -> None:
    said = refused(GOOD, registry, tmp_path, assignment)
    assert message in said
    assert "--set" in said


@pytest.mark.parametrize(
    "mark",
    ["\x00", "\x1b", "\n", "\r", "\t", "\x7f", "\x9b", "\u061c", "\u200e", "\u200f", "\u202e", "\u2066", "\ud800"],
)
@pytest.mark.parametrize(
    "place",
    [("name",), ("description",), ("models", 0, "name"), ("datasets", 0, "name"), ("models", 0, "config", "way")],
)
def test_text_that_is_no_plain_line_is_refused(mark: str, place: tuple[Any, ...], registry: Registry) -> None:
    values: dict[str, Any] = {
        "name": "mine",
        "budget": {"steps": 1},
        "datasets": [{"name": "ring8"}],
        "models": [{"name": "gaussian", "config": {}}],
    }
    where: Any = values
    for step in place[:-1]:
        where = where[step]
    where[place[-1]] = f"a{mark}b"
    with pytest.raises(SuiteError, match=r"holds .*; use one line of plain text") as caught:
        resolve(read_document(values), registry)
    assert mark not in str(caught.value).replace("\n", "", str(caught.value).count("\n") if mark != "\n" else 0)
    with pytest.raises(SuiteError, match="a key holds"):
        read_document({**values, **{f"k{mark}": 1}})


def test_the_line_of_hidden_text_is_named(registry: Registry, tmp_path: Path) -> None:
    text = GOOD + 'config = { way = "a\\u202eb" }\n'
    assert "FILE:8: models[0].config.way: this text holds the invisible mark U+202E" in refused(
        text, registry, tmp_path
    )


def test_a_mapping_without_end_is_refused() -> None:
    ring: dict[str, Any] = {}
    ring["config"] = ring
    with pytest.raises(SuiteError, match="nested more than 32 levels"):
        read_document(ring)
    wide: Any = 1
    for _ in range(30):
        wide = [wide, wide]
    with pytest.raises(SuiteError, match="more than 100,000 values"):
        read_document({"config": wide})


def test_a_list_of_mistakes_is_cut(registry: Registry, tmp_path: Path) -> None:
    entries = "".join(f'[[models]]\nname = "none-{number}"\n' for number in range(5_000))
    assert "... and 4951 more" in refused(GOOD.replace(MODEL, "") + entries + "nothing = 1\n", registry, tmp_path)


def test_only_a_regular_file_is_read(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.toml"
    os.mkfifo(pipe)
    for path in (pipe, tmp_path, Path("/dev/zero")):
        with pytest.raises(SuiteError, match="no regular file"):
            read_document(path)
    huge = tmp_path / "huge.toml"
    with huge.open("wb") as file:
        file.truncate(2**30)
    with pytest.raises(SuiteError, match="1,073,741,824 bytes; a suite has at most 4,000,000"):
        read_document(huge)
    for name in ("a\0b.toml", "x" * 5_000 + ".toml"):
        with pytest.raises(SuiteError, match="cannot be read"):
            read_document(name)


def test_the_largest_suites_are_still_read(tmp_path: Path, registry: Registry) -> None:
    entries = "".join(
        f'[[models]]\nname = "gmm"\nconfig = {{ components = [{number}] }}\n' for number in range(1, 2_001)
    )
    file = tmp_path / "large.toml"
    file.write_text(HEAD.format(seeds=5) + DATA + entries)
    found = resolve(read_document(file), registry)
    assert len(found.pairs) * len(found.suite.seed_list) == 10_000


def test_the_command_refuses_in_the_same_way(tmp_path: Path) -> None:
    file = tmp_path / "absurd.toml"
    file.write_text(HEAD.format(seeds=300_000_000) + DATA + MODEL)
    code = "import atexit, sys; atexit.register(lambda: print('torch' in sys.modules))"
    command = [sys.executable, "-c", f"{code}; from trilemma.harness import cli; cli.main()", "run", file, "--dry-run"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 2
    assert f"{file}:2: seeds: 300,000,000 seeds" in ended.stderr
    assert ended.stdout == "False\n"
