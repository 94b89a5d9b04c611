"""The reports of finished runs, as pages of the documentation."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def results(docs_module: Callable[[str], ModuleType]) -> ModuleType:
    """docs/_results.py."""
    return docs_module("_results")


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A folder of two run directories, one of them without a report."""
    (tmp_path / "flows" / "figures").mkdir(parents=True)
    (tmp_path / "flows" / "report.md").write_text("# The flows\n\n![](figures/samples-1.png)\n")
    (tmp_path / "flows" / "figures" / "samples-1.png").write_bytes(b"")
    (tmp_path / "unfinished").mkdir()
    return tmp_path


def test_a_report_comes_with_its_figures_and_keeps_their_relative_places(results: ModuleType, runs: Path) -> None:
    (report,) = results.reports(runs)
    assert dict(report.files()) == {
        "results/flows/report.md": runs / "flows" / "report.md",
        "results/flows/figures/samples-1.png": runs / "flows" / "figures" / "samples-1.png",
    }


def test_reports_are_in_the_navigation_and_on_their_page(results: ModuleType, runs: Path) -> None:
    found = results.reports(runs)
    navigation: list[dict[str, object]] = [{"Home": "index.md"}, {"Results": [{"Figures": "results.md"}]}]
    results.add_to_navigation(navigation, found)
    assert navigation[1]["Results"] == [{"Figures": "results.md"}, {"The flows": "results/flows/report.md"}]
    assert "- [The flows](results/flows/report.md)" in results.index(found)


def test_a_folder_without_reports_is_an_error_that_says_what_to_do(results: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"TRILEMMA_DOCS_RUNS .*trilemma report DIR"):
        results.reports(tmp_path)


def test_without_runs_the_page_says_how_to_add_them(results: ModuleType) -> None:
    assert results.RUNS in results.index([])
    assert "<!-- reports -->" in (DOCS / "results.md").read_text(encoding="utf-8")


REPORT = """# flows

## At a glance

3 seeds · 10 s · cells 6: 6 ok

### ring8: Ring of 8 Gaussians

- **Best quality**: realnvp

![A front](figures/card.png)

### digits: Digits

- **Best quality**: nothing to rank

## Comparison

Each row is a model.

### ring8: Ring of 8 Gaussians

| Model | NFE |
| --- | --: |
| realnvp | 1 |

<details><summary>More numbers</summary>

| Model | Spread |

</details>

## All datasets

### ring8: Ring of 8 Gaussians
"""


def test_what_reports_say_is_stored_and_shown(
    results: ModuleType, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (runs / "flows" / "report.md").write_text(REPORT)
    run = {"suite": {"name": "flows"}, "environment": {"versions": {"trilemma": "9.8"}}}
    (runs / "flows" / "run.json").write_text(json.dumps({"runs": [{}, run]}))
    monkeypatch.setattr(results, "FILE", tmp_path / "results.json")
    results.FILE.write_text('{"scores": {}}')
    monkeypatch.setattr("sys.argv", ["_results.py", str(runs / "flows")])
    results.main()
    assert set(results.stored()) == {"scores", "flows"}
    page = results.fill("a\n<!-- results of flows -->\n<!-- results of implicit -->")
    assert "version 9.8: 3 seeds · 10 s · cells 6: 6 ok" in page
    assert page.count("### ring8: Ring of 8 Gaussians\n\n- **Best quality**: realnvp\n\n<details>") == 1
    assert "| realnvp | 1 |" in page
    assert "Spread" not in page
    assert "figures" not in page
    assert "`trilemma run implicit` was not measured for this version." in page


def test_stored_results_are_of_suites_on_the_page(results: ModuleType) -> None:
    page = (DOCS / "results.md").read_text(encoding="utf-8")
    for name, found in results.stored().items():
        assert f"<!-- results of {name} -->" in page
        assert found["datasets"], name
