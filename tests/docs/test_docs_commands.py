"""The commands that README and the pages show.

All of them are read as the program reads them: options, their values, names of suites, models, datasets and metrics.
Those that only tell something are run. The commands of the tutorial and of the quick start are run in order, with fewer
training steps, by a slow test.
"""

from __future__ import annotations

import glob
import re
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from trilemma.harness.cli import main
from trilemma.harness.planning.asked import document_of
from trilemma.harness.planning.resolve import resolve
from trilemma.harness.planning.suite import builtin_suites
from trilemma.harness.plugins import Registry

ROOT = Path(__file__).parents[2]
TOLD = ("list", "info", "plugins", "completion")
"""Commands that need no run and take no time."""

NAMED = {"info": "name", "tune": "model", "card": "metrics", "check": "names"}
"""Commands whose argument names something built in, and the argument."""

SHORT = ["--budget", "20steps", "--set", "timing.rounds=1", "--set", "timing.seconds=1"]
"""What the slow test adds to a run."""

LEFT_OUT = {"data": "needs the network", "doctor": "depends on the machine"}
"""Commands that the slow test does not run."""


def blocks(page: Path) -> Iterator[str]:
    """The blocks of shell commands of a page: fenced ones, and in README indented ones."""
    text = page.read_text(encoding="utf-8")
    yield from re.findall(r"^ *```bash\n(.*?)^ *```", text, re.M | re.S)
    for block in re.findall(r"^ *```console\n(.*?)^ *```", text, re.M | re.S):
        yield "".join(re.findall(r"^ *\$ (.*\n)", block, re.M))
    if page.name == "README.md":
        yield from re.findall(r"(?:^    \S.*\n)+", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S), re.M)


def lines(page: Path) -> Iterator[str]:
    """The commands of a page, one a line."""
    for block in blocks(page):
        for line in textwrap.dedent(block).splitlines():
            yield from (part.strip() for part in line.split(" && "))


def words(line: str) -> list[str]:
    """The arguments of trilemma in a line; none if the line runs something else."""
    found = shlex.split(re.split(r"\s[|>]\s", line)[0], comments=True)
    return found[1:] if found[:1] and found[0].rpartition("/")[2] == "trilemma" else []


def commands() -> list[Any]:
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
    found = [(page, line) for page in pages for line in lines(page) if words(line)]
    return [pytest.param(words(line), id=f"{page.stem}: {line}") for page, line in found]


def read(arguments: list[str]) -> click.Context:
    """A command as the program reads it. Raises click.UsageError."""
    above = click.Context(main, info_name="trilemma")
    name, *rest = arguments
    command = main.get_command(above, name)
    assert command is not None, f"there is no command {name}"
    return command.make_context(name, rest, parent=above)


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry(builtin_only=True)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the runs that the pages speak of; empty, because nothing is run."""
    for run in ("quick", "standard", "before", "after"):
        (tmp_path / "runs" / run).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_commands_of_readme_and_of_the_pages_are_found() -> None:
    named = {case.id.partition(":")[0] for case in commands()}
    assert {"README", "CONTRIBUTING", "quickstart", "tutorial", "faq"} - named == {"faq"}
    assert words(".venv/bin/trilemma run --data wine.csv  # a table") == ["run", "--data", "wine.csv"]
    assert words("pip install .") == []


@pytest.mark.parametrize("arguments", commands())
def test_a_command_is_one_that_the_program_understands(place: Path, registry: Registry, arguments: list[str]) -> None:
    arguments = [part for word in arguments for part in (sorted(glob.glob(word)) or [word])]
    for word in arguments:
        if word.endswith(".py"):
            (place / word).parent.mkdir(parents=True, exist_ok=True)
            (place / word).touch()
    asked = read(arguments)
    plugin = bool(asked.params.get("plugin_files"))
    installed = "my-flow" not in arguments[-1]  # the package that the page on packages makes
    if asked.info_name == "run" and not plugin and installed and asked.params["suite"] in builtin_suites():
        # Own data is read when a run is planned. Until then a dataset stands in its place.
        own = [{"name": "ring8", "label": Path(path).stem} for path in asked.params["data"]]
        changes = [text for text in asked.params["assignments"] if not (own and text.startswith("datasets."))]
        chosen = {key: asked.params[key] for key in ("models", "datasets", "seeds", "budget")}
        resolve(document_of(asked.params["suite"], **chosen, set=changes, own=own), registry)
    named = asked.params.get(NAMED.get(str(asked.info_name), ""))
    for name in [named] if isinstance(named, str) else list(named or ()):
        kinds = ("models", "datasets", "metrics")
        assert plugin or any(name in registry.classes(kind) for kind in kinds), f"nothing is named {name}"
    if asked.info_name in TOLD and not plugin:
        assert CliRunner().invoke(main, arguments).exit_code == 0


@pytest.mark.parametrize(
    "line",
    [
        "trilemma run quick --model realnvp",
        "trilemma run quick --seeds some",
        "trilemma export runs/quick --format doc",
    ],
)
def test_a_command_with_a_mistake_is_found(place: Path, line: str) -> None:
    with pytest.raises(click.UsageError):
        read(words(line))


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", ["tutorial", "quickstart"])
def test_the_commands_of_a_page_work_one_after_the_other(tmp_path: Path, name: str) -> None:
    page = ROOT / "docs" / f"{name}.md"
    if name == "quickstart":  # the files that the page speaks of
        table = np.random.default_rng(0).normal(size=(200, 3))
        np.savetxt(tmp_path / "wine.csv", table, delimiter=",", header="a,b,c", comments="")
        (tmp_path / "images").mkdir()
        for number, image in enumerate(np.random.default_rng(0).integers(0, 256, (60, 8, 8), dtype=np.uint8)):
            Image.fromarray(image).save(tmp_path / "images" / f"{number}.png")
        (suite,) = re.findall(r"^```toml\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)
        (tmp_path / "mine.toml").write_text(suite, encoding="utf-8")
    for line in lines(page):
        arguments = words(line)
        if line.startswith("python -c"):
            subprocess.run([sys.executable, *shlex.split(line)[1:]], cwd=tmp_path, check=True)
        if not arguments or arguments[0] in LEFT_OUT:
            continue
        if arguments[0] == "run" and "--dry-run" not in arguments:
            arguments += SHORT
        if arguments[0] == "tune":
            arguments += ["--budget", "20steps", "--trials", "2", "--further", "1"]
        done = subprocess.run(
            [sys.executable, "-m", "trilemma", *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        # Twenty steps are few, so a comparison may find that something is worse, and its exit code is then 1.
        assert done.returncode in ((0, 1) if arguments[0] == "compare" else (0,)), f"{line}\n{done.stdout}{done.stderr}"
