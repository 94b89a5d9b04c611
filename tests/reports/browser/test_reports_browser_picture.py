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


def ticks(picture: Any) -> list[str]:
    texts: list[str] = picture.locator(".role-axis-label text").all_text_contents()
    return texts


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
    quality = figure.locator("select[data-axis=qualities]")
    quality.select_option(label=next(t for t in quality.locator("option").all_inner_texts() if "W₂ excess" in t))
    picture.wait_for()
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
        factor = 1e3 if "10⁻³" in next(name for name in told if "W₂ excess" in name) else 1.0
        value = float(re.match(r"[−\d.]+", shown)[0].replace("−", "-"))  # type: ignore[index]
        assert value == pytest.approx(factor * means[label, sampler], rel=0.1), told
        seen.add((label, sampler))
    assert len(seen) > count / 2, "marks on top of each other hide some"
    page.mouse.move(1, 1)

    # The axes show what is chosen.
    cost = figure.locator("select[data-axis=costs]")
    for choice in (quality, cost):
        for title in choice.locator("option").all_inner_texts():
            choice.select_option(label=title)
            picture.get_by_text(title, exact=True).first.wait_for()
    assert cost.locator("option").count() > 1

    # The legend hides a model, and shows it again.
    quality.select_option(index=0)
    cost.select_option(index=0)
    picture.locator(".mark-symbol path").nth(count - 1).wait_for()
    name = figure.locator(".answer-legend button", has_text="edm")
    name.click()
    picture.locator(".mark-symbol path").nth(count - 4).wait_for(state="detached")
    assert name.get_attribute("aria-pressed") == "false"
    name.click()
    picture.locator(".mark-symbol path").nth(count - 1).wait_for()

    # Ctrl and the wheel zoom, a double click resets, and the wheel alone scrolls the page.
    before, box = ticks(picture), picture.bounding_box()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.5 * box["height"])
    page.keyboard.down("Control")
    page.mouse.wheel(0, -400)
    page.keyboard.up("Control")
    page.wait_for_function("([svg, old]) => [...svg.querySelectorAll('.role-axis-label text')].map(t => t.textContent)"
                           ".join() !== old", arg=[picture.element_handle(), ",".join(before)])  # fmt: skip
    page.mouse.dblclick(box["x"] + 0.6 * box["width"], box["y"] + 0.12 * box["height"])
    page.wait_for_function("([svg, old]) => [...svg.querySelectorAll('.role-axis-label text')].map(t => t.textContent)"
                           ".join() === old", arg=[picture.element_handle(), ",".join(before)])  # fmt: skip
    page.mouse.wheel(0, 300)
    page.wait_for_function("scrollY > 0")
    assert ticks(picture) == before
