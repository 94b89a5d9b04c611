"""What the tests of the harness share: a tiny suite, one finished run of it, commands in this process, bad plugins."""

from __future__ import annotations

import contextlib
import copy
import shutil
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from trilemma.harness.cli import main
from trilemma.harness.execution.processes.forks import Zygote
from trilemma.harness.store.listing import write_list
from trilemma.harness.store.store import Store

TINY = """
name = "tiny"
budget = { steps = 5 }
datasets = [{ name = "ring8", config = { n_train = 200, n_valid = 50, n_test = 100 } }]
models = [{ name = "gaussian" }, { name = "realnvp", config = { transforms = [2, 3] } }]
metrics = { nll = { n = 50 }, wasserstein = { n = 50, draws = 2 } }
"""


def invoke(*arguments: object) -> Result:
    """Run the command line in this process."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="session")
def command() -> Callable[..., Result]:
    """`invoke`."""
    return invoke


@pytest.fixture(scope="session")
def tiny() -> str:
    """The text of the tiny suite."""
    return TINY


@pytest.fixture
def tiny_suite() -> dict[str, Any]:
    """The tiny suite."""
    return tomllib.loads(TINY)


@pytest.fixture(scope="session")
def tiny_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of the tiny suite."""
    file = tmp_path_factory.mktemp("tiny") / "tiny.toml"
    file.write_text(TINY)
    return file


@pytest.fixture(scope="session")
def finished(tiny_file: Path) -> Path:
    """The directory of a finished run of the tiny suite, which no test changes."""
    out = tiny_file.with_name("run")
    result = invoke("run", tiny_file, "--out", out)
    assert result.exit_code == 0, result.output
    return out


@pytest.fixture
def finished_copy(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run, to go on with."""
    return Path(shutil.copytree(finished, tmp_path / "copy"))


@pytest.fixture
def own_zygote() -> Iterator[None]:
    """Cells are forked from a process that starts in the test, and so sees what the test has put on paths."""
    Zygote.shared.cache_clear()  # type: ignore[attr-defined]
    yield
    Zygote.shared.cache_clear()  # type: ignore[attr-defined]


def edit_list(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change what run.json of a run directory lists, as a whole list."""
    record = copy.deepcopy(Store(path).run())
    change(record)
    write_list(path, record["runs"], record["cells"])


@pytest.fixture(scope="session")
def edit() -> Callable[[Path, Callable[[dict[str, Any]], object]], None]:
    """`edit_list`."""
    return edit_list


@pytest.fixture(scope="session")
def bad_plugins() -> Path:
    """The plugin file whose models misbehave."""
    return Path(__file__).with_name("bad_plugins.py")


@pytest.fixture
def light(
    request: pytest.FixtureRequest, without_reports: Callable[[], contextlib.AbstractContextManager[None]]
) -> Iterator[None]:
    """Runs in this process write no report. Tests that are marked with `reports` have theirs, without pictures."""
    if request.node.get_closest_marker("reports"):
        request.getfixturevalue("undrawn")
        yield
    else:
        with without_reports():
            yield
