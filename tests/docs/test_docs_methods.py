"""The table of methods: every built-in method has a row, and every row names code and tests that exist."""

from __future__ import annotations

import ast
import importlib
import re
from collections import Counter
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from trilemma.harness.analysis.citations import entries

ROOT = Path(__file__).parents[2]
HINT = "docs/methods.md, section 'Add a row', says how; the rows are in docs/methods/*.toml"


def generator() -> ModuleType:
    """docs/_methods.py, imported as MkDocs imports its hooks: with the folder on the path."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "docs"))
        return importlib.import_module("_methods")


def rows() -> list[Any]:
    """All rows."""
    return [row for _, found in generator().methods() for row in found]


@cache
def parsed(path: Path) -> ast.Module:
    """A test module; an empty one if there is no such file."""
    return ast.parse(path.read_text(encoding="utf-8") if path.is_file() else "")


def functions_in(module: ast.Module) -> dict[str, ast.FunctionDef]:
    """The functions of a test module by name."""
    return {node.name: node for node in module.body if isinstance(node, ast.FunctionDef)}


def has_slow(marks: ast.expr) -> bool:
    """Whether `pytest.mark.slow` is a mark, or one of a list of marks."""
    if isinstance(marks, ast.List | ast.Tuple):
        return any(has_slow(mark) for mark in marks.elts)
    return ast.unparse(marks.func if isinstance(marks, ast.Call) else marks) == "pytest.mark.slow"


def words_in(nodes: list[ast.expr]) -> set[str]:
    """The names and the strings that stand in expressions."""
    found = [node for top in nodes for node in ast.walk(top)]
    names = {node.id for node in found if isinstance(node, ast.Name)}
    return names | {node.value for node in found if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def is_slow(module: ast.Module, name: str, method: set[str]) -> bool:
    """Whether the test `name` runs only with the slow tests, at least for a method that has the names `method`.

    It does if the module or the test is marked. A case of a parametrized test may be marked, too. The test is slow if
    all its cases are, and for a method that has only slow ones.
    """
    assigned = {ast.unparse(node.targets[0]): node.value for node in module.body if isinstance(node, ast.Assign)}
    marks = functions_in(module)[name].decorator_list
    if has_slow(assigned.get("pytestmark", ast.Constant(None))) or any(map(has_slow, marks)):
        return True
    for mark in marks:
        if not (isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.parametrize"):
            continue
        cases = assigned.get(ast.unparse(mark.args[1]), mark.args[1])
        split: dict[bool, list[ast.expr]] = {True: [], False: []}
        for case in cases.elts if isinstance(cases, ast.List | ast.Tuple) else [cases]:
            options = {option.arg: option.value for option in case.keywords} if isinstance(case, ast.Call) else {}
            split[has_slow(options.get("marks", ast.Constant(None)))].append(case)
        if split[True] and (not split[False] or method & (words_in(split[True]) - words_in(split[False]))):
            return True
    return False


@pytest.mark.parametrize("kind", ["models", "samplers", "likelihoods"])
def test_every_method_has_one_row(kind: str) -> None:
    counts = Counter(row.key for row in rows() if row.kind == kind)
    methods = {key for of_kind, key in generator().code() if of_kind == kind}
    missing, unknown = sorted(methods - set(counts)), sorted(set(counts) - methods)
    assert not missing, f"no row [{kind}.NAME] for {', '.join(missing)}; {HINT}"
    assert not unknown, f"rows [{kind}.NAME] without a built-in method: {', '.join(unknown)}; rename or remove them"
    assert not [key for key, count in counts.items() if count > 1]


def test_every_part_is_a_documented_function_or_class() -> None:
    for row in rows():
        assert (row.kind == "parts") == bool(row.entry.code), f"{row.key}: only a part has the key `code`"
        assert generator().code_of(row).__doc__, row.key


def test_every_check_is_a_test_that_exists() -> None:
    unknown = []
    for row in rows():
        for check in row.entry.checks:
            path, _, name = check.test.partition("::")
            if not name.startswith("test_") or name not in functions_in(parsed(ROOT / path)):
                unknown.append(f"{row.source.name}, {row.kind}.{row.key}: there is no test {check.test}")
    assert not unknown, "\n".join([*unknown, HINT])


CASES = """
import pytest
LATER = [pytest.param("a", marks=[pytest.mark.slow]), "b"]
def test_quick(): ...
@pytest.mark.slow
def test_slow(): ...
@pytest.mark.parametrize("x", [1, 2])
@pytest.mark.slow
def test_slow_cases(x): ...
@pytest.mark.parametrize("x", [pytest.param(A, marks=pytest.mark.slow), (B, C)])
def test_some(x): ...
@pytest.mark.parametrize("x", LATER)
def test_later(x): ...
@pytest.mark.parametrize("x", [pytest.param(A, marks=pytest.mark.slow), pytest.param(B, marks=pytest.mark.slow)])
def test_all(x): ...
@pytest.mark.parametrize("x", [pytest.param(A, 1, marks=pytest.mark.slow), (A, 2)])
def test_both(x): ...
"""


def test_slow_tests_are_told_apart() -> None:
    module = ast.parse(CASES)
    expected = {
        "test_quick": "",
        "test_slow": "ABCabc",
        "test_slow_cases": "ABCabc",
        "test_some": "A",
        "test_later": "a",
        "test_all": "ABCabc",
        "test_both": "",
    }
    assert {name: "".join(x for x in "ABCabc" if is_slow(module, name, {x})) for name in expected} == expected
    for marks in ("pytest.mark.slow", "[pytest.mark.usefixtures('x'), pytest.mark.slow]"):
        assert is_slow(ast.parse(f"{CASES}pytestmark = {marks}"), "test_quick", set())
    assert not is_slow(ast.parse(f"{CASES}pytestmark = pytest.mark.usefixtures('slow')"), "test_quick", set())


def test_checks_by_slow_tests_are_marked_and_no_others() -> None:
    wrong = []
    for row in rows():
        method = {row.key, getattr(generator().code_of(row), "__name__", row.key)}
        for check in row.entry.checks:
            path, _, name = check.test.partition("::")
            marked = check.against.startswith("slow: ")
            if marked != is_slow(parsed(ROOT / path), name, method):
                said = (
                    "it is marked slow, but its test is not"
                    if marked
                    else "it must begin with 'slow: ', because its test is slow"
                )
                wrong.append(f"{row.source.name}, {row.kind}.{row.key}, '{check.against}': {said} ({check.test})")
    assert not wrong, "\n".join(wrong)


def test_a_row_has_checks_or_the_reason_why_there_are_none() -> None:
    wrong = [row.key for row in rows() if bool(row.entry.checks) == bool(row.entry.unchecked)]
    assert not wrong, f"{', '.join(wrong)}: give either `checks` or `unchecked`; {HINT}"
    bare = [row.key for row in rows() if not (row.entry.form and row.entry.deviation)]
    assert not bare, f"{', '.join(bare)}: `form` and `deviation` must not be empty; {HINT}"
    unlinked = [row.key for row in rows() if bool(row.entry.paper) != bool(row.entry.link)]
    assert not unlinked, f"{', '.join(unlinked)}: a paper needs a link"


def test_the_module_of_a_method_cites_its_paper() -> None:
    silent = []
    for row in rows():
        papers = [paper for paper in row.entry.paper.split("; ") if paper]
        module = importlib.import_module(generator().code_of(row).__module__)
        text = Path(module.__file__ or "").read_text(encoding="utf-8")
        for paper in papers:
            author = re.split(r",| & | et al\.| \d", paper)[0].split()[-1]
            if not (author in text and re.findall(r"\d{4}", paper)[0] in text):
                silent.append(f"{module.__name__} does not cite '{paper}', which the row {row.key} names")
    assert not silent, "\n".join(silent)


def test_the_page_shows_every_row() -> None:
    page = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    assert generator().MARK in page
    text = generator().fill(page)
    for title, found in generator().methods():
        assert f"\n## {title}\n" in text
        for row in found:
            assert f"`{row.key}`" in text
            assert row.entry.deviation.replace("|", r"\|") in text
            assert all(f"`{generator().short_name(check.test)}`" in text for check in row.entry.checks)


def test_every_paper_of_a_model_has_a_bibtex_entry() -> None:
    papers: dict[str, list[str]] = {}
    for _, entry, about in entries((ROOT / "plugins" / "papers.bib").read_text(encoding="utf-8")):
        for name in about:
            papers.setdefault(name, []).append(entry)
    for row in rows():
        if row.kind != "models" or not row.entry.paper:
            continue
        own = papers.get(f"models/{row.key}", [])
        assert any(row.entry.link.rsplit("/", 1)[1] in entry for entry in own), f"{row.key}: {row.entry.link}"
        for paper in row.entry.paper.split("; "):
            author = re.split(r",| & | et al\.| \d", paper)[0].split()[-1].replace("Hyvarinen", "Hyv")
            year = re.findall(r"\d{4}", paper)[0]
            assert any(author in entry and f"year = {{{year}}}" in entry for entry in own), f"{row.key}: {paper}"
    known = {f"{row.kind}/{row.key}" for row in rows() if row.kind == "models"}
    known |= {f"samplers/{value.name}" for (kind, _), value in generator().code().items() if kind == "samplers"}
    assert not set(papers) - known, "entries of what is not there"
