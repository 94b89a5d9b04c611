"""The picture of quality against cost in a real browser: numbers on pointing, a choice of axes, legend, zoom."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

Visit = Callable[..., Any]

CENTERS = """all => all.map(each => {
  const { x, y, width, height } = each.getBoundingClientRect();
  return [x + width / 2, y + height / 2];
})"""

SAID = """element => Object.fromEntries([...element.querySelectorAll("tr")].map(row =>
  [row.querySelector(".key").textContent.replace(":", "").trim(), row.querySelector(".value").textContent]))"""


TICKS = "svg => [...svg.querySelectorAll('.role-axis-label text')].map(text => text.textContent).sort().join()"


def test_the_picture_says_its_numbers_and_obeys(visit: Visit, make_frame: Callable[..., pd.DataFrame]) -> None:
    """All in one page, because a page takes long to open."""
    page = visit()
    figure = page.locator("figure[data-front]").first
    picture = figure.locator(".answer-live svg.marks")
    picture.wait_for()
    assert not figure.locator(".answer-still").is_visible()
    points = picture.locator(".mark-symbol path")
    count = points.count()

    # A mark says its model, its sampler setting and the mean of its quality over the seeds.
    frame = make_frame()
    frame = frame[(frame["dataset_id"] == "ring8") & ~frame["control"]]
    means = frame[frame["metric"] == "w2_excess"].groupby(["label", "sampler"])["value"].mean()
    quality, cost = (figure.locator(f"select[data-axis={axis}]") for axis in ("qualities", "costs"))
    titles = {choice: choice.locator("option").all_inner_texts() for choice in (quality, cost)}

    def choose(choice: Any, title: str) -> None:
        """Choose an axis, and wait for its title: the picture is drawn anew."""
        choice.select_option(label=title)
        picture.locator(".role-axis-title").get_by_text(title, exact=True).wait_for()

    choose(quality, next(title for title in titles[quality] if "W₂ excess" in title))
    assert count == len(means)
    tooltip = page.locator("#vg-tooltip-element")
    seen: set[tuple[str, str]] = set()
    for place in points.evaluate_all(CENTERS):
        page.mouse.move(1, 1)
        page.mouse.move(*place)
        page.wait_for_timeout(30)
        if not tooltip.is_visible():  # outside of the axes
            continue
        told = tooltip.evaluate(SAID)
        label, sampler = told["Model"].partition(" · ")[0], told["Sampler"]
        shown = next(text for name, text in told.items() if "W₂ excess" in name)
        number = re.match(r"[−\d.]+", shown)
        assert number is not None, told
        half_a_digit = 0.51 * 10.0 ** -len(number[0].partition(".")[2])
        assert float(number[0].replace("−", "-")) == pytest.approx(means[label, sampler], abs=half_a_digit), told
        seen.add((label, sampler))
    assert len(seen) > count / 2, "marks on top of each other hide some"
    page.mouse.move(1, 1)

    # The axes show what is chosen.
    for choice in (quality, cost):
        for title in titles[choice]:
            choose(choice, title)
    assert len(titles[cost]) > 1

    # The legend hides a model, and shows it again.
    choose(quality, titles[quality][0])
    choose(cost, titles[cost][0])
    picture.locator(".mark-symbol path").nth(count - 1).wait_for()
    name = figure.locator(".answer-legend button", has_text="edm")
    name.click()
    picture.locator(".mark-symbol path").nth(count - 4).wait_for(state="detached")
    assert name.get_attribute("aria-pressed") == "false"
    name.click()
    picture.locator(".mark-symbol path").nth(count - 1).wait_for()

    # Ctrl and the wheel zoom, a double click resets, and the wheel alone scrolls the page.
    svg = picture.element_handle()
    before, box = page.evaluate(TICKS, svg), picture.bounding_box()
    x, top = box["x"] + 0.6 * box["width"], box["y"]
    page.mouse.move(x, top + 0.5 * box["height"])
    page.keyboard.down("Control")
    page.mouse.wheel(0, -400)
    page.wait_for_function(f"([svg, old]) => ({TICKS})(svg) !== old", arg=[svg, before])
    page.keyboard.up("Control")
    page.wait_for_timeout(300)  # the wheel goes on for a moment
    page.mouse.dblclick(x, top + 0.12 * box["height"])
    page.wait_for_function(f"([svg, old]) => ({TICKS})(svg) === old", arg=[svg, before])
    page.mouse.wheel(0, 300)
    page.wait_for_function("scrollY > 0")
    assert page.evaluate(TICKS, svg) == before
