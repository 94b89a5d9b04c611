"""Tables of a report in a real browser: what fits, sorting, filter, choice of columns, copies, details of cells."""

from __future__ import annotations

import csv
import io
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import trilemma
from trilemma.harness.text import spreadsheet_cell
from trilemma.reports.sections.comparison import Comparison
from trilemma.reports.write import write_report

Visit = Callable[..., Any]
Copied = Callable[[Any, str], str]
Tables = Callable[[str], list[list[list[str]]]]

ROWS = """table => [...table.querySelectorAll("tbody:not(.divider)")].filter(body => !body.hidden).map(body => ({
  control: body.className === "control", name: body.querySelector(".name").textContent,
  rows: [...body.rows].map(row => [row.querySelector(".sampler")?.textContent ?? "",
    Object.fromEntries([...row.querySelectorAll("td[data-v]")].map(td => [td.dataset.c, Number(td.dataset.v)]))]),
}))"""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, whole: trilemma.RunView) -> Path:
    """The directory of a report of the comparison alone, which a browser shows sooner than a whole one."""
    out = tmp_path_factory.mktemp("tables")
    write_report(whole, [Comparison], out)
    return out


def first(page: Any) -> Any:
    """The first table of the page."""
    return page.locator("table.compare").first


def column(table: Any, title: str) -> str:
    """The number of the column with a title."""
    return str(table.locator("thead [data-c]", has=table.page.get_by_role("button", name=title, exact=True)).first
               .get_attribute("data-c"))  # fmt: skip


def test_the_columns_that_decide_fit_a_window_of_1200_pixels(visit: Visit) -> None:
    page = visit(width=1200)
    assert page.evaluate("document.documentElement.scrollWidth") <= 1200
    for results in page.locator(".results").all():
        box = results.locator(".scroll").first
        assert box.evaluate("box => box.scrollWidth <= box.clientWidth")
        titles = box.locator("thead button").all_inner_texts()
        assert titles[:2] == ["W₂", "W₂ excess V"]
        assert {"NFE", "Time per 1k", "FLOP per sample", "Training time"} < set(titles)


def test_sorting_keeps_settings_with_their_model_and_controls_apart(visit: Visit) -> None:
    page = visit()
    table = first(page)
    written = table.evaluate(ROWS)
    nfe = column(table, "NFE")
    heading = table.get_by_role("button", name="NFE", exact=True)
    members = {body["name"]: sorted(sampler for sampler, _ in body["rows"]) for body in written}

    def best(body: Any, of: Callable[..., float]) -> float:
        return of([values[nfe] for _, values in body["rows"] if nfe in values])

    for direction, of in (("ascending", min), ("descending", max)):
        heading.click()
        assert heading.locator("xpath=..").get_attribute("aria-sort") == direction
        found = table.evaluate(ROWS)
        assert {body["name"]: sorted(sampler for sampler, _ in body["rows"]) for body in found} == members
        models = [best(body, of) for body in found if not body["control"]]
        assert len(set(models)) > 3
        assert models == sorted(models, reverse=direction == "descending")
        assert [body["control"] for body in found] == sorted(body["control"] for body in found)
        edm = next(body for body in found if body["name"] == "edm")
        assert edm["rows"][0][0] == ""
        settings = [values[nfe] for _, values in edm["rows"][1:]]
        assert settings == sorted(settings, reverse=direction == "descending")
    heading.press("Enter")
    assert table.evaluate(ROWS) == written
    assert table.locator("[aria-sort]").count() == 0


def test_the_filter_shows_models_by_name_sampler_and_outcome(visit: Visit) -> None:
    page = visit()
    tools, table = page.locator(".tools").first, first(page)
    for words, names in (
        ("heun 18", ["edm"]),
        ("diverged", ["ddpm"]),
        ("KDE", ["kde"]),
        ("nothing like this", []),
    ):
        tools.get_by_label("Filter").fill(words)
        assert [body["name"] for body in table.evaluate(ROWS)] == names
        assert tools.locator(".said").inner_text() == f"{len(names)} of 12 models"
        assert table.locator(".divider").is_visible() == (names == ["kde"])
        for rest in page.locator(".results").first.locator(".rest table").all():
            assert {body["name"] for body in rest.evaluate(ROWS)} <= set(names)
    tools.get_by_label("Filter").fill("edm")
    assert [body["name"] for body in page.locator(".rest table").first.evaluate(ROWS)] == ["edm"]
    tools.get_by_label("Filter").fill("")
    assert table.locator("tbody:visible").count() == 13


def test_columns_can_be_chosen(visit: Visit) -> None:
    page = visit()
    results, table = page.locator(".results").first, first(page)
    results.locator(".menu summary").click()
    panel = results.locator(".menu .panel")
    assert [box.is_checked() for box in panel.get_by_label("NFE").all()] == [True]
    panel.get_by_label("Latency p90 [ms]").check()
    panel.get_by_label("NFE").uncheck()
    page.keyboard.press("Escape")
    assert not panel.is_visible()
    titles = table.locator("thead button:visible").all_inner_texts()
    assert titles.index("Latency p90") == titles.index("Time per 1k") + 1
    assert "NFE" not in titles
    latency = column(table, "Latency p90")

    def values(root: Any) -> dict[str, str]:
        cells = root.locator(f"tr[data-r] td[data-c='{latency}'][data-v]").all()
        return {cell.locator("xpath=..").get_attribute("data-r"): cell.get_attribute("data-v") for cell in cells}

    assert len(values(table)) > 15
    rest = results.locator(".rest")
    assert values(table) == values(rest)
    rest.locator("summary").first.click()
    moved = rest.get_by_role("button", name="Latency p90")
    assert not moved.is_visible()
    spans = table.locator("thead th[scope=colgroup]").evaluate_all("all => all.map(th => th.colSpan)")
    assert sum(spans) == len(titles)
    table.get_by_role("button", name="Latency p90").click()
    assert table.locator("[aria-sort=ascending] button").inner_text() == "Latency p90"
    results.locator(".menu summary").click()
    panel.get_by_label("Latency p90 [ms]").uncheck()
    assert moved.is_visible()


def test_the_keyboard_shows_the_intervals_of_numbers(visit: Visit) -> None:
    page = visit()
    table = first(page)
    cells = table.locator("td[title]")
    table.locator("tbody a").first.focus()
    page.keyboard.press("Tab")
    here = page.locator(":focus")
    assert here.evaluate("(cell, first) => cell === first", cells.first.element_handle())
    said = here.evaluate("cell => getComputedStyle(cell, '::after').content")
    assert said == f'"{cells.first.get_attribute("title")}"'
    page.keyboard.press("ArrowRight")
    assert here.evaluate("(cell, second) => cell === second", cells.nth(1).element_handle())
    row, where = here.evaluate("cell => cell.parentElement.rowIndex"), here.get_attribute("data-c")
    page.keyboard.press("ArrowDown")
    assert here.get_attribute("data-c") == where
    assert here.evaluate("cell => cell.parentElement.rowIndex") > row
    assert table.locator("td[tabindex='0']").count() == 1


def test_a_copy_as_csv_holds_the_numbers_of_the_results(
    visit: Visit, copied: Copied, make_frame: Callable[..., pd.DataFrame]
) -> None:
    rows = list(csv.DictReader(io.StringIO(copied(visit(), "CSV"))))
    frame = make_frame()
    means = frame[frame["dataset_id"] == "ring8"].groupby(["label", "sampler", "metric"])["value"].mean()
    for metric, title in (("nfe", "NFE"), ("w2", "W₂ [data units] floor 0.0503")):
        found = {(r["model"], r["sampler"]): float(r[title]) for r in rows if r[title]}
        wanted = {key: value for (*key, name), value in means.items() if name == metric for key in [tuple(key)]}
        assert found == pytest.approx(wanted, rel=1e-4)
    (lost,) = (r for r in rows if r["outcome"] != "ok")
    assert (lost["model"], lost["sampler"]) == ("ddpm", "ddim(steps=10)")
    assert "diverged" in lost["outcome"]
    assert any("§" in r["marks"] for r in rows if r["model"] == "ddpm")
    assert {r["model"] for r in rows if r["control"] == "yes"} > {"oracle", "kde"}


def test_copies_hold_what_is_shown(visit: Visit, copied: Copied, tables: Tables) -> None:
    page = visit()
    page.locator(".tools").first.get_by_label("Filter").fill("edm")
    ((header, *rows),) = tables(copied(page, "Markdown"))
    assert [row[:2] for row in rows] == [
        ["edm", sampler] for sampler in ("likelihood, training", *(f"heun(steps={n})" for n in (4, 8, 18, 40)))
    ]
    assert re.fullmatch(r"\*\*0\.\d+\*\* ± 0\.\d+", rows[-1][header.index("W₂ excess V \\[data units²\\]")])
    lines = copied(page, "LaTeX").splitlines()
    body = [line for line in lines if line.endswith("\\\\")]
    assert len(body) == 6
    assert {line.count(" & ") for line in body} == {len(header) - 1}
    assert lines[0].startswith(f"\\begin{{tabular}}{{ll{'r' * (len(header) - 2)}}}")
    assert "W$_{2}$ excess V [data units$^{2}$]" in body[0]
    assert any(re.search(r"\\textbf\{0\.\d+\} \$\\pm\$0\.\d+", line) for line in body)


def test_hostile_names_do_nothing(
    visit: Visit, copied: Copied, tables: Tables, evil: tuple[Path, list[str]], make_frame: Callable[..., pd.DataFrame]
) -> None:
    folder, names = evil
    page = visit(report=folder)
    picture = page.locator("figure[data-front]").first
    picture.locator(".answer-live svg.marks").wait_for()
    assert set(names) <= {name.strip() for name in picture.locator(".answer-legend button").all_inner_texts()}
    for choice in picture.locator("select").all():
        for number in range(choice.locator("option").count()):
            choice.select_option(index=number)
    shown = first(page).locator(".name").all_inner_texts()
    assert set(names) <= set(shown)
    rows = list(csv.reader(io.StringIO(copied(page, "CSV"))))
    assert {spreadsheet_cell(name) for name in names} <= {row[0] for row in rows}
    assert "'=1+1<b>" in {row[1] for row in rows}
    assert all(spreadsheet_cell(cell) == cell for row in rows for cell in row)
    ((header, *lines),) = tables(copied(page, "Markdown"))
    assert {len(line) for line in lines} == {len(header)}
    assert "<" not in copied(page, "Markdown")
    latex = copied(page, "LaTeX")
    assert "\\textbackslash{}input\\{f\\} \\%g \\& \\_h\\textasciicircum{}\\textasciitilde{}\\#" in latex
    body = [line for line in latex.splitlines() if line.endswith("\\\\")]
    assert max(len(re.findall(r"(?<!\\)&", line)) for line in body) == len(header) - 1
    page.set_viewport_size({"width": 390, "height": 844})
    page.locator(".name").first.click()
    page.locator(".results details").evaluate_all("all => all.forEach(box => { box.open = true; })")
    commands = page.locator("code.command").all_inner_texts()
    cells = {f'{cell}"; reboot #<i>' for cell in make_frame(seeds=(0,))["cell"]}
    assert {shlex.split(command)[2] for command in commands} == cells


def test_a_name_leads_to_the_cells_behind_it(visit: Visit) -> None:
    page = visit()
    details = page.locator(first(page).locator(".name", has_text="edm").first.get_attribute("href"))
    assert not details.is_visible()
    first(page).locator(".name", has_text="edm").first.click()
    assert details.locator("code.command").all_inner_texts() == [
        f"trilemma rerun edm-ring8-{seed} --run ." for seed in (0, 1, 2)
    ]
    assert details.get_by_text("logs/edm-ring8-1.log").is_visible()
    assert details.evaluate("box => box.getBoundingClientRect().top >= document.querySelector('nav').offsetHeight")
    assert details.locator("summary").evaluate("summary => summary === document.activeElement")
