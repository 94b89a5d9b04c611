"""`trilemma site`: what the leaderboard shows, what it calls verified, and what must not come through."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import trilemma
from trilemma.harness.store.reruns import write_rerun
from trilemma.harness.store.store import Store
from trilemma.reports.share.commands import site as command
from trilemma.reports.share.site import write_site

SUITE = {
    "name": "tiny",
    "seeds": 3,
    "budget": {"steps": 5},
    "datasets": [{"name": "ring8", "config": {"n_train": 200, "n_valid": 50, "n_test": 100}}],
    "models": [{"name": "realnvp", "config": {"transforms": 2}}, {"name": "gaussian"}],
    "metrics": {"nll": {"n": 50}, "wasserstein": {"n": 50, "draws": 2}},
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run, the same run again, a copy of it, a run with other seeds, and the run with another training of a cell."""
    home = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trilemma.reports.write.render_sections", lambda view, sections: [])  # a report is only linked
        for name, seeds in (("first", 3), ("again", 3), ("seeds", [7, 8, 9])):
            trilemma.run(SUITE, out=home / name, seeds=seeds)
    for name in ("copy", "other"):
        shutil.copytree(home / "first", home / name)
    store = Store(home / "other")
    cell = next(cell["id"] for cell in store.run()["cells"] if cell["model"]["name"] == "realnvp")
    record = store.record("cells", cell)
    assert record is not None
    with store.writing():
        store.commit("cells", cell, {key: value for key, value in record.items() if key not in ("files", "written")})
    return {path.name: path for path in home.iterdir()}


def rows(out: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((out / "leaderboard.json").read_text())
    return found


def kinds(*paths: Path) -> list[str]:
    return sorted({repeat.kind for repeat in trilemma.repeats(paths)})


def test_repetitions_copies_and_other_results_are_told_apart(runs: dict[str, Path]) -> None:
    found = trilemma.repeats([runs["first"], runs["again"]])
    assert {(repeat.run, repeat.other, repeat.kind) for repeat in found} == {(0, 1, "identical")}
    assert len(found) == 6
    assert kinds(runs["first"], runs["copy"]) == ["copy"]
    assert kinds(runs["first"], runs["other"]) == ["copy", "different"]
    assert kinds(runs["first"], runs["seeds"]) == []


def test_a_run_that_was_repeated_is_verified_and_stands_once(runs: dict[str, Path], tmp_path: Path) -> None:
    write_site([runs["first"], runs["again"]], tmp_path / "site")
    found = rows(tmp_path / "site")
    assert {row["run"] for row in found} == {"first"}
    assert {row["verified"] for row in found} == {"bit-identical, 3 of 3 trainings"}
    assert {row["label"] for row in found} == {"realnvp(transforms=2)", "gaussian"}


def test_what_rerun_found_verifies_a_row(runs: dict[str, Path], tmp_path: Path) -> None:
    home = shutil.copytree(runs["first"], tmp_path / "mine")
    store = Store(home)
    cells = {cell["id"]: cell["model"]["name"] for cell in store.run()["cells"]}
    for number, (id, model) in enumerate(cells.items()):
        training = (store.record("cells", id) or {})["written"]
        if model == "realnvp" or number == 5:
            write_rerun(store, id, training, {"identical": model == "realnvp"})
    write_site([home], tmp_path / "site")
    today = datetime.now(UTC).date()
    assert {row["label"]: row["verified"] for row in rows(tmp_path / "site")} == {
        "realnvp(transforms=2)": f"bit-identical, 3 of 3 trainings, {today}",
        "gaussian": f"not bit-identical, 1 of 3 trainings repeated, {today}",
    }


def test_copies_verify_nothing(runs: dict[str, Path], tmp_path: Path) -> None:
    write_site([runs["first"], runs["copy"]], tmp_path / "site")
    assert {row["verified"] for row in rows(tmp_path / "site")} == {"not repeated"}


def test_other_seeds_are_compared_with_the_interval(runs: dict[str, Path], tmp_path: Path) -> None:
    write_site([runs["first"], runs["seeds"]], tmp_path / "site")
    found = rows(tmp_path / "site")
    assert {row["run"] for row in found} == {"first", "seeds"}
    nets = [row for row in found if row["label"].startswith("realnvp") and row["sampler"]]
    frames = {name: trilemma.summary_rows(trilemma.load_results(runs[name])) for name in ("first", "seeds")}
    metric = trilemma.deciding_metric(frames["first"], "quality")
    lines = {
        name: next(r for r in table[table["metric"] == metric].itertuples() if r.label.startswith("realnvp"))
        for name, table in frames.items()
    }
    for row in nets:
        own, other = (lines[name] for name in ([row["run"], *({"first", "seeds"} - {row["run"]})]))
        where = "within" if own.low <= other.value <= own.high else "outside"
        assert row["verified"] == f"quality {where} the interval in {'seeds' if row['run'] == 'first' else 'first'}"
    best = [row for row in found for number in row["numbers"].values() if number["best"]]
    assert best, "what is best is judged over all runs"
    text = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert text.count('best"><b>') == len(best)
    assert "td.best b" in text, "bold needs the style sheets of the report"


def test_the_page_is_one_file_without_a_network(
    runs: dict[str, Path], tmp_path: Path, parse: Callable[[str], Any]
) -> None:
    written = write_site([runs["first"], runs["seeds"]], tmp_path / "site", "Mine <b>")
    text = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    page = parse(text)
    assert "<h1>Mine &lt;b&gt;</h1>" in text
    assert not re.search(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//""", text)
    links = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    assert len(links) == 2
    assert all((tmp_path / "site" / str(link)).is_file() for link in links)
    options = [attributes for tag, attributes in page.tags if tag == "select"]
    assert {option["name"] for option in options} == {"dataset", "budget", "machine", "how"}
    assert sorted(path.name for path in written)[-2:] == ["leaderboard.json", "seeds-2.html"]


def test_hostile_names_are_inert(runs: dict[str, Path], tmp_path: Path) -> None:
    evil = tmp_path / "<img src=x onerror=alert(1)>"
    shutil.copytree(runs["first"], evil)
    write_site([evil], tmp_path / "site", "</script><script>alert(2)</script>")
    text = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert "<img" not in text
    assert "<script>alert" not in text
    assert "&lt;img src=x" in text
    assert {row["run"] for row in rows(tmp_path / "site")} == {evil.name}


def test_directories_of_others_and_of_runs_are_left_alone(runs: dict[str, Path], tmp_path: Path) -> None:
    foreign = tmp_path / "homepage"
    foreign.mkdir()
    (foreign / "index.html").write_text("mine")
    run = CliRunner().invoke
    for out in (foreign, runs["first"]):
        before = sorted(path.name for path in out.iterdir())
        with pytest.raises(trilemma.StoreError):
            write_site([runs["seeds"]], out)
        assert sorted(path.name for path in out.iterdir()) == before
    assert (foreign / "index.html").read_text() == "mine"
    result = run(command, [str(runs["first"]), "--out", str(tmp_path / "site"), "--json"])
    assert result.exit_code == 0
    assert json.loads(result.output)["written"][0].endswith("index.html")
    with pytest.raises(trilemma.StoreError, match="holds no run"):
        write_site([foreign], tmp_path / "site")


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
CHOOSE = """<script>
const result = {};
for (const [name, value] of [["text", "gauss"], ["how", "yes"], ["machine", "nowhere"], ["dataset", ""]]) {
  form.reset();
  if (name === "machine") form.elements[name].add(new Option(value));
  form.elements[name].value = value;
  form.dispatchEvent(new Event("input"));
  result[name] = [count.textContent, document.querySelectorAll("section[data-dataset] tbody tr:not([hidden])").length];
}
document.title = JSON.stringify(result);
</script></body>"""


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
def test_filters_hide_rows_in_a_browser(runs: dict[str, Path], tmp_path: Path) -> None:
    write_site([runs["first"], runs["again"], runs["seeds"]], tmp_path / "site")
    page = tmp_path / "site" / "index.html"
    page.write_text(page.read_text(encoding="utf-8").replace("</body>", CHOOSE), encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"]
    dom = subprocess.run([str(CHROMIUM), *options, page.as_uri()], capture_output=True, text=True, timeout=200).stdout
    title = re.search(r"<title>(.*?)</title>", dom)
    assert title is not None
    found = json.loads(html.unescape(title[1]))
    everything = len(rows(tmp_path / "site"))
    gauss = sum("gauss" in row["label"] for row in rows(tmp_path / "site"))
    same = sum(row["verified"].startswith("bit-identical, 3 of 3") for row in rows(tmp_path / "site"))
    assert 0 < gauss < everything
    assert 0 < same < everything
    assert found == {
        "text": [f"{gauss} rows", gauss],
        "how": [f"{same} rows", same],
        "machine": ["0 rows", 0],
        "dataset": [f"{everything} rows", everything],
    }
