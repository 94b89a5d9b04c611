"""The words of the project: the glossary is in order, and words that it does not have are not used."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("src", "harness", "plugins", "datasets", "reports", "tests", "docs", "examples", "changelog")
SUFFIXES = (".py", ".md", ".toml", ".j2")

BRITISH = [
    *(
        "behavio-ur",
        "cent-re",
        "colo-ur",
        "favo-ur",
        "hono-ur",
        "neighbo-ur",
        "lic-ence",
        "gr-ey",
        "model-led",
        "label-led",
    ),
    *("initial-is", "standard-is", "normal-is", "quant-is", "memor-is", "general-is", "optim-is", "synchron-is"),
    *("summar-is", "recogn-is", "regular-is", "penal-is", "visual-is", "discret-is", "factor-is", "parametr-is"),
]
"""Stems of British spellings, with a hyphen that keeps them out of their own search."""

SPELLINGS = re.compile("|".join(rf"{stem.replace('-', '')}(?!m|t|k|danus)" for stem in BRITISH), re.I)
DISTRIBUTIONS = re.compile(r"\b{}s?\b".format("la" + "w"), re.I)


def sources() -> list[Path]:
    """Every text file of the repository that people write."""
    inside = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*")]
    links = [ROOT / "src" / "trilemma" / room for room in ("harness", "plugins", "datasets", "reports")]
    found = [path for path in (*inside, *ROOT.glob("*")) if path.suffix in SUFFIXES and path.is_file()]
    return [path for path in found if not any(link in path.parents for link in links)]


def uses(pattern: re.Pattern[str]) -> list[str]:
    """`file:line: text` of every line in which the pattern occurs."""
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in sources()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if pattern.search(line)
    ]


def terms() -> list[str]:
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    return re.findall(r"^(\S.*)\n: ", text, re.M)


def test_the_terms_of_the_glossary_are_sorted_and_unique() -> None:
    found = [term.casefold() for term in terms()]
    assert len(found) > 40
    assert found == sorted(set(found))


def test_every_likelihood_kind_and_outcome_is_in_the_glossary() -> None:
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    for word in ("exact", "ode", "map", "bound", "estimate", "none", "ok", "diverged", "out-of-memory", "interrupted"):
        assert f"`{word}`" in text


def test_probability_distributions_are_called_distributions() -> None:
    assert not uses(DISTRIBUTIONS)


def test_spelling_is_american() -> None:
    assert not uses(SPELLINGS)


@pytest.mark.parametrize("text", ["normal" + "ised", "the cent" + "re", "Colo" + "urs", "dequant" + "isation"])
def test_british_spellings_are_found(text: str) -> None:
    assert SPELLINGS.search(text)


@pytest.mark.parametrize("text", ["normal distribution", "generalist", "optimism", "license", "center", "quantize"])
def test_other_words_are_not_found(text: str) -> None:
    assert not SPELLINGS.search(text)
