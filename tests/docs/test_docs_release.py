"""What a release is cut from: the version, the news fragments, and the checks before a commit."""

from __future__ import annotations

import re
import tomllib
from configparser import ConfigParser
from pathlib import Path

import pytest

import trilemma

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
NEWS = PROJECT["tool"]["towncrier"]
TYPES = [kind["directory"] for kind in NEWS["type"]]
FRAGMENT = re.compile(rf"\+[a-z0-9]+(-[a-z0-9]+)*\.({'|'.join(TYPES)})(\.\d+)?\.md")


def test_the_version_is_the_same_in_both_places() -> None:
    assert trilemma.__version__ == PROJECT["project"]["version"]


def test_news_fragments_have_valid_names_and_text() -> None:
    fragments = [path for path in (ROOT / NEWS["directory"]).iterdir() if path.name != "README.md"]
    assert not [path.name for path in fragments if not FRAGMENT.fullmatch(path.name)]
    assert not [path.name for path in fragments if not path.read_text(encoding="utf-8").strip()]


@pytest.mark.parametrize("name", ["ring.feature.md", "+ring.news.md", "+ring.feature", "+Ring.feature.md", "+.fix.md"])
def test_other_names_of_news_fragments_are_refused(name: str) -> None:
    assert not FRAGMENT.fullmatch(name)


def test_the_types_of_news_fragments_are_explained() -> None:
    text = (ROOT / NEWS["directory"] / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)` \|", text, re.M) == TYPES


def test_the_changelog_says_where_the_next_section_goes() -> None:
    assert (ROOT / NEWS["filename"]).read_text(encoding="utf-8").count(NEWS["start_string"]) == 1


def test_pre_commit_runs_what_tox_runs() -> None:
    tox = ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini", encoding="utf-8")
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    entries = [re.sub(r"^env( \w+=\S+)+ ", "", entry) for entry in re.findall(r"^ +entry: (.+)$", hooks, re.M)]
    assert entries == tox["testenv:lint"]["commands"].split("\n")[1:]


def test_every_tox_environment_that_the_texts_name_exists() -> None:
    tox = ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini", encoding="utf-8")
    known = {section.removeprefix("testenv:") for section in tox.sections()} | {
        "py",
        "py311",
        "py312",
        "py313",
        "py314",
    }
    files = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "tests").rglob("*.py")]
    named = {name for file in files for name in re.findall(r"tox -e ([\w-]+)", file.read_text(encoding="utf-8"))}
    assert named
    assert named <= known
