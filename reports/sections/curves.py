"""The section of figures of quality against cost, with one curve per model and sampler."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, ClassVar

import numpy as np

import trilemma

from .. import figures, html, markdown, measures, numbers
from ..chosen import allowance
from ..frame import family, first_row
from ..kit import Digest, digest
from ..plots import DASHES, Curve, Scale, key, limits, quality_against_cost

if TYPE_CHECKING:
    from matplotlib.figure import Figure

READING = (
    "Each point is one sampler setting of a trained model, and the points of a curve share the training. Bars are the "
    "intervals over training seeds (with fewer than three seeds, the interval of the metric). The gray band is about "
    "what chance does to the value of real data: there, samples cannot be told from data. Dotted lines are controls."
)
PAGE, FILE = (4.8, 3.4), (6.6, 4.8)
MOST, MOST_OF_ONE = 6, 2
"""The most figures of the section and of one dataset. The picture at the beginning of the report has every cost."""


class Curves(trilemma.ReportSection):
    """The section of quality against cost: for each dataset, quality against NFE and against sampling time."""

    name: ClassVar[str] = "curves"
    order: ClassVar[int] = 40

    def render(self, view: trilemma.RunView) -> trilemma.Section | None:
        """Render the figures. Returns None if no sampler setting has both a quality and a cost."""
        run = digest(view)
        blocks, parts, files = [], [READING], {}
        most = allowance(MOST, len(run.datasets), MOST_OF_ONE)
        for index, dataset in enumerate(run.datasets, start=1):
            rows = run.summary[run.summary["dataset_id"] == dataset]
            metric = measures.pictured(rows)
            if metric is None:
                continue
            title, costs = measures.axis_title(rows, metric), dict(list(measures.costs(rows).items())[:most])
            scale = _scale(run, dataset, metric)
            drawn = {cost: found for cost in costs if (found := _curves(run, dataset, metric, cost))}
            if not drawn:
                continue
            everything = list({curve.label: curve for found in drawn.values() for curve in found}.values())
            note = _outside(everything, scale)
            parts.append(f"### {markdown.escape(run.title(dataset))}")
            plots = []
            for cost, found in drawn.items():
                names = ", ".join(curve.label for curve in found)
                alt = f"{title} against {costs[cost]} on {dataset}, one curve for each of {names}."
                plots.append(figures.svg(quality_against_cost(found, scale, costs[cost], title), PAGE, alt))
                file = f"curves-{index}-{cost.replace('_', '-')}.png"
                files[file] = figures.png(quality_against_cost(found, scale, costs[cost], title, legend=True), FILE)
                parts.append(f"![{markdown.escape(alt)}](figures/{file})")
            parts += [markdown.escape(note)] if note else []
            legend = [(key(curve), curve.label) for curve in everything]
            blocks.append({"title": run.title(dataset), "plots": plots, "legend": legend, "note": note})
        if not blocks:
            return None
        return trilemma.Section(
            title="Quality against cost",
            html=html.render("curves.html.j2", blocks=blocks, reading=READING),
            markdown="\n\n".join(parts),
            figures=files,
        )


def drawings(run: Digest) -> Iterator[tuple[str, str, Callable[[Figure], None]]]:
    """The figures of a run with their legends: the stem of a file name, what the figure shows, and what draws it."""
    for index, dataset in enumerate(run.datasets, start=1):
        rows = run.summary[run.summary["dataset_id"] == dataset]
        metric = measures.pictured(rows)
        for cost, axis in (measures.costs(rows) if metric is not None else {}).items():
            if metric is not None and (found := _curves(run, dataset, metric, cost)):
                title, scale = measures.axis_title(rows, metric), _scale(run, dataset, metric)
                alt = f"{title} against {axis} on {dataset}"
                draw = quality_against_cost(found, scale, axis, title, legend=True)
                yield f"curves-{index}-{cost.replace('_', '-')}", alt, draw


def _curves(run: Digest, dataset: str, metric: str, cost: str) -> list[Curve]:
    rows = run.summary[(run.summary["dataset_id"] == dataset) & ~run.summary["control"]]
    keys = ["label", "budget", "device", "trained_on", "sampler"]
    costs = rows.loc[rows["metric"] == cost, [*keys, "value", "machine"]].rename(columns={"value": "cost"})
    rows = rows.drop(columns="machine")  # that of the cost tells curves apart
    several = costs.loc[costs["machine"] != "", "machine"].nunique() > 1
    points = rows[(rows["metric"] == metric) & np.isfinite(rows["value"])].merge(costs, on=keys)
    points = points[np.isfinite(points["cost"]) & (points["cost"] > 0)]
    points = points.assign(family=points["sampler"].map(family))
    curves = []
    for label, own in points.groupby("label", sort=False):
        families = own["family"].nunique() > 1
        apart = ["budget", "device", "trained_on", "machine", "family"]
        for dash, (_, line) in enumerate(own.groupby(apart, sort=False)):
            line = line.sort_values("cost")
            first = first_row(line)
            name = run.run_label(first) + (f" · {first.family}" if families else "")
            name += f" · {first.machine}" if several and first.machine not in ("", first.trained_on) else ""
            x, y, low, high = (line[column].to_numpy(np.float64) for column in ("cost", "value", "low", "high"))
            curves.append(Curve(name, run.inks[str(label)], dash % len(DASHES), x, y, low, high))
    return curves


def _scale(run: Digest, dataset: str, metric: str) -> Scale:
    rows = run.summary[(run.summary["dataset_id"] == dataset) & (run.summary["metric"] == metric)]
    noise = float(rows["noise"].median())
    floors = rows[["floor", "floor_low", "floor_high"]].mean().to_numpy(np.float64)
    floor = tuple(np.where(np.isnan(floors), floors[0], floors)) if math.isfinite(floors[0]) else None
    controls = rows[rows["control"] & np.isfinite(rows["value"])].groupby("label", sort=False)["value"].min()
    short = {label: family(label) for label in controls.index}
    if len(set(short.values())) == len(short):
        controls = controls.rename(index=short)
    return Scale(
        floor=(0.0, -noise, noise) if noise > 0 else floor,
        noise=noise if noise > 0 else None,
        controls={str(label): float(value) for label, value in controls.items()},
    )


def _outside(curves: list[Curve], scale: Scale) -> str:
    """A sentence that names the controls outside the axis, with their values; "" if there are none."""
    low, high, _ = limits(curves, scale)
    out = [f"{name} {numbers.plain(value)}" for name, value in scale.controls.items() if not low < value < high]
    return f"Controls outside the axis: {', '.join(out)}." if out else ""
