"""Links and paths: a link to a whole run directory is followed, one inside it never; a bad path is refused at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

import trilemma
from trilemma.harness.api import make_runner
from trilemma.harness.store.claim import claim_directory

Suite = dict[str, Any]
Command = Callable[..., Result]


@pytest.mark.reports
def test_a_link_to_a_run_directory_is_followed(tmp_path: Path, tiny_file: Path, command: Command) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.mkdir()
    link.symlink_to(real)
    arguments = ("run", tiny_file, "--models", "gaussian", "--out", link)
    assert command(*arguments, "--dry-run").exit_code == 0
    assert list(real.iterdir()) == []
    done = command(*arguments)
    assert done.exit_code == 0, done.output
    assert (real / "report.html").is_file()
    assert command("results", link).exit_code == 0
    assert link.is_symlink()


@pytest.mark.parametrize("path", ["dangling", "dangling/out", "file/out", "file/deeper/out"])
def test_a_path_that_cannot_be_made_is_refused_by_the_dry_run_too(path: str, tmp_path: Path, tiny_suite: Suite) -> None:
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    runner = make_runner(tiny_suite, out=tmp_path / path)
    for start in (runner.dry_run, runner.run):
        with pytest.raises(trilemma.StoreError, match="choose another with --out"):
            start()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["dangling", "file"]


def test_a_report_does_not_claim_the_directory_of_another_run(finished: Path, tmp_path: Path) -> None:
    claim_directory(finished, of=finished)
    claim_directory(tmp_path / "new", of=finished)
    with pytest.raises(trilemma.StoreError, match="the directory of another run"):
        claim_directory(finished, of=tmp_path / "new")
