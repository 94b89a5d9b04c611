"""The line of every value of a TOML document."""

from __future__ import annotations

import json
import tomllib
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from trilemma.harness.planning.toml_lines import line_numbers

KEYS = st.text("abcdefgh-_0123456789", min_size=1, max_size=6)
LEAVES = st.one_of(
    st.integers(-5, 5),
    st.booleans(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text("ab\"\\ #[]{}=,\n'é", max_size=8),
)
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3))


def _dump(value: Any, rng: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=True).replace("\x7f", "\\u007f")
    if isinstance(value, list):
        newline = "\n  " if rng else ""
        return "[" + newline + f",{newline} ".join(_dump(v, rng) for v in value) + newline + "]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f'"{k}" = {_dump(v, False)}' for k, v in value.items()) + " }"
    return repr(value)


def _paths(value: Any, base: tuple[str | int, ...] = ()) -> set[tuple[str | int, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = {base} if base else set()
    for key, inner in items:
        found |= _paths(inner, (*base, key))
    return found


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(KEYS, VALUES, max_size=4),
    st.lists(st.dictionaries(KEYS, VALUES, max_size=3), max_size=3),
    st.booleans(),
)
def test_every_path_of_a_document_has_a_line(
    top: dict[str, Any], tables: list[dict[str, Any]], multiline: bool
) -> None:
    lines = [f'"{key}" = {_dump(value, multiline)} # note = [1]' for key, value in top.items() if key != "tables"]
    for table in tables:
        lines += ["[[tables]]", *(f'"{key}" = {_dump(value, multiline)}' for key, value in table.items())]
    text = "\n".join(lines)
    parsed = tomllib.loads(text)
    found = line_numbers(text)
    assert _paths(parsed) <= set(found)
    for key in top:
        if key != "tables":
            assert text.splitlines()[found[(key,)] - 1].startswith(f'"{key}" =')


def test_lines_of_nested_arrays_and_dotted_keys() -> None:
    text = 'a.b = [[1, 2],\n [3,\n 4]]\n[x.y]\nz = """\n[[no]]\n"""\n[[x.y.list]]\nq = { r = [\n1,\n] }\n'
    lines = line_numbers(text)
    assert lines[("a", "b", 1, 1)] == 3
    assert lines[("x", "y", "z")] == 5
    assert lines[("x", "y", "list", 0, "q", "r", 0)] == 10
    assert ("no",) not in lines
