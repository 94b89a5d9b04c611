"""The page of a report in a real browser: anchors, dark mode, phones, print, no script, accessibility."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

Visit = Callable[..., Any]

OUTSIDE = """width => [...document.querySelectorAll("main *")].filter(element => {
  const { left, right, width: own } = element.getBoundingClientRect();
  return own > 1 && (left < -1 || right > width + 1) && !element.closest("svg *, thead, nav");
}).map(element => `${element.tagName} ${element.className} ${element.textContent.slice(0, 40)}`)"""
"""Everything that stands out of a page of a width."""


def brightness(page: Any, color: str = "backgroundColor") -> float:
    text = page.evaluate(f"getComputedStyle(document.body).{color}")
    return sum(map(float, re.findall(r"[\d.]+", text)[:3])) / 3


@pytest.mark.parametrize("width", [1440, 390])
def test_links_land_where_they_say(visit: Visit, width: int) -> None:
    page = visit(width=width)
    links = page.locator("nav a[href^='#'], .jump a")
    assert links.count() > 5
    for link in links.all():
        target = link.get_attribute("href")
        link.evaluate("link => link.click()")
        top, bar = page.evaluate(
            "id => [document.querySelector(`${id} h2, h3${id}`).getBoundingClientRect().top,"
            " document.querySelector('nav').getBoundingClientRect().bottom]",
            target,
        )
        height = page.viewport_size["height"]
        end = page.evaluate("innerHeight + scrollY >= document.documentElement.scrollHeight - 1")
        assert top >= bar, target
        assert top < bar + 60 or (end and top < height), target


def test_the_heading_of_a_long_table_stays_in_sight(visit: Visit) -> None:
    page = visit(height=420)
    page.locator("table.compare tbody").nth(8).evaluate("body => body.scrollIntoView({ block: 'center' })")
    heading = page.locator("table.compare").first.get_by_role("button", name="NFE")
    assert heading.evaluate("""button => { const { left, top, width, height } = button.getBoundingClientRect();
        return document.elementFromPoint(left + width / 2, top + height / 2) === button; }""")


def test_the_dark_page_is_dark_and_paper_is_white(visit: Visit) -> None:
    page = visit(color_scheme="dark")
    assert brightness(page) < 40
    assert brightness(page, "color") > 200
    page.emulate_media(media="print")
    assert brightness(page) > 240
    assert brightness(visit(color_scheme="light")) > 240


def test_on_a_phone_each_model_is_a_card(visit: Visit) -> None:
    page = visit(width=390, height=844)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    table = page.locator("table.compare").first
    edm = table.locator("tbody.model", has=page.locator(".name", has_text="edm")).first
    assert edm.bounding_box()["width"] < 390
    cells = edm.locator("td[data-v]")
    labels = cells.evaluate_all("all => all.map(td => getComputedStyle(td, '::before').content)")
    assert {'"NFE"', '"W₂ data units"'} < set(labels)
    boxes = [cell.bounding_box() for cell in cells.all()]
    assert len(boxes) > 20
    assert all(box["x"] >= 0 and box["x"] + box["width"] <= 390 for box in boxes)
    choice = page.get_by_label("Sort by").first
    choice.select_option(label="NFE")
    assert table.locator("tbody.model .name").first.inner_text() in ("spline", "realnvp(transforms=8)")


def test_print_is_landscape_and_cuts_nothing(visit: Visit) -> None:
    page = visit(width=1031)  # the width of A4 in landscape within its margins
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate(OUTSIDE, 1031) == []
    assert page.locator("details:not(.menu) > :not(summary):visible").count() > 20
    assert page.locator("details:not([open], .menu)").count() == 0
    assert not page.locator(".tools").first.is_visible()
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details[open]").count() == 0
    pdf = page.pdf(prefer_css_page_size=True)
    boxes = {tuple(map(float, box.split())) for box in re.findall(rb"/MediaBox \[([\d. ]+)\]", pdf)}
    assert boxes
    assert all(width > height for _, _, width, height in boxes)


def test_without_scripts_everything_can_be_read(visit: Visit) -> None:
    page = visit(width=1200, java_script_enabled=False)
    assert page.locator("table.compare").first.is_visible()
    assert not page.locator(".tools").first.is_visible()
    page.locator(".rest summary").first.click()
    assert page.locator(".rest table").first.is_visible()
    page.locator(".name", has_text="edm").first.click()
    assert page.locator("details.run summary", has_text="edm").first.is_visible()


def test_the_keyboard_reaches_what_can_be_pressed_and_shows_where_it_is(visit: Visit) -> None:
    page = visit()
    page.locator(".tools input").first.focus()
    seen = []
    for _ in range(8):
        page.keyboard.press("Tab")
        seen.append(
            page.evaluate("""() => { const here = document.activeElement, style = getComputedStyle(here);
            return [here.textContent.trim(),
                    style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 1]; }""")
        )
    assert [name for name, _ in seen[:4]] == ["Columns", "Markdown", "LaTeX", "CSV"]
    assert "W₂" in [name for name, _ in seen]
    assert all(visible for _, visible in seen)


@pytest.mark.parametrize(
    ("options", "rules"),
    [
        ({"color_scheme": "light"}, {}),
        ({"color_scheme": "dark"}, {"runOnly": ["cat.color"]}),  # nothing else differs
        ({"width": 390, "color_scheme": "light"}, {}),
    ],
    ids=["light", "dark", "phone"],
)
def test_axe_finds_nothing(visit: Visit, options: dict[str, Any], rules: dict[str, Any]) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs the dependency group `browser`")
    page = visit(**options)
    page.locator("details").evaluate_all("all => all.forEach(box => { box.open = true; })")
    found = axe.Axe().run(page, options={"resultTypes": ["violations"], **rules}).response["violations"]
    assert [(rule["id"], node["html"][:200]) for rule in found for node in rule["nodes"][:3]] == []
