"""The page on claims: it is written from stored results, which fit the registry, and says why what did not hold."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

import trilemma

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "claims.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def generator(docs_module: Callable[[str], ModuleType]) -> ModuleType:
    """docs/_claims.py."""
    return docs_module("_claims")


def test_every_claim_is_on_the_page(generator: ModuleType) -> None:
    page = generator.fill(PAGE)
    for claim in generator.claims():
        assert page.count(f"### {claim.name}\n") == 1
        assert claim.claim in page
    assert "<!--" not in page


@pytest.mark.parametrize("file", ["claims.json", "claims-other-seeds.json"])
def test_stored_results_are_of_the_registered_claims(file: str, generator: ModuleType) -> None:
    known = {claim.name: claim for claim in generator.claims()}
    for name, record in generator.stored(file).items():
        assert name in known, f"run `trilemma claims --stored --save docs/{file}`"
        claim = known[name]
        assert record["verdict"] == "not run" or record["steps"] == claim.steps.of(record["effort"])
        for part, comparison in zip(record["comparisons"], claim.comparisons, strict=False):
            assert part["a"]["label"] == comparison.a.label, "the stored verdict is of another experiment"
            assert (part["b"]["label"], part["interest"]) == (comparison.b.label, comparison.interest)


def test_repeated_claims_have_other_seeds(generator: ModuleType) -> None:
    for name, record in generator.stored("claims-other-seeds.json").items():
        assert not set(record["seeds"]) & set(generator.stored()[name]["seeds"])
    again = generator.stored("claims-other-seeds.json")
    assert {name for name in again if again[name]["verdict"] != generator.stored()[name]["verdict"]} == {
        "learned-permutation"
    }, "the page says which verdicts differ"
    assert set(generator.DRAWN) <= set(again)


def test_sentences_and_sources_are_those_of_the_claims(generator: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sentence that was corrected after the run is on the page, with the stored verdict."""
    old = {"planar-depth": {"verdict": "not run", "why": "no time", "comparisons": [], "claim": "Old.", "checked": ""}}
    monkeypatch.setattr(generator, "stored", lambda: old)
    (shown,) = (record for record in generator.records() if record["name"] == "planar-depth")
    (claim,) = (claim for claim in generator.claims() if claim.name == "planar-depth")
    assert (shown["claim"], shown["checked"], shown["why"]) == (claim.claim, claim.checked, "no time")


@pytest.mark.parametrize(
    ("checked", "said"),
    [("", "(not checked)"), ("full text", "(checked in the full text)"), ("abstract", "its place was not)")],
)
def test_the_page_says_what_was_checked(generator: ModuleType, checked: str, said: str) -> None:
    record = {**generator.records()[0], "checked": checked, "link": "https://example.org/paper"}
    (line,) = (line for line in generator.section(record).splitlines() if line.startswith("Source: "))
    assert line.startswith(f"Source: [{record['citation']}, {record['place']}](https://example.org/paper) (")
    assert said in line


def test_what_did_not_hold_is_explained(generator: ModuleType) -> None:
    silent = [
        record["name"]
        for record in generator.records()
        if record["verdict"] in ("contradicted", "inconclusive") and record["name"] not in generator.remarks()
    ]
    assert not silent, "write a paragraph for each in docs/claims.toml: why, with evidence, and what would settle it"
    run = {record["name"] for record in generator.records() if record["verdict"] != "not run"}
    assert set(generator.remarks()) <= run


def test_every_claim_that_was_run_has_a_figure(generator: ModuleType) -> None:
    for record in generator.records():
        assert ("<svg" in generator.section(record)) == (record["verdict"] != "not run")


def test_the_readme_says_what_the_stored_results_say(generator: ModuleType) -> None:
    found = generator.records()
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert f"`trilemma claims` tests {len(found)} published claims" in readme
    assert f"[What holds here](docs/claims.md): {trilemma.claim_tally(found)}." in readme
