"""The choice of metrics for tables and figures. It uses only what metrics say in their quantities."""

from __future__ import annotations

from typing import Any

import pandas as pd

import trilemma


def title_of(rows: pd.DataFrame, metric: str) -> str:
    """The title of a metric."""
    return str(rows.loc[rows["metric"] == metric, "title"].iloc[0])


def axis_title(rows: pd.DataFrame, metric: str) -> str:
    """The title of a metric with its unit."""
    unit = str(rows.loc[rows["metric"] == metric, "unit"].iloc[0]).replace("^2", "²")
    return title_of(rows, metric) + (f" [{unit}]" if unit else "")


def kind_order(kind: str) -> tuple[int, str]:
    """The sort key of a likelihood kind."""
    known = list(trilemma.LIKELIHOOD_KINDS)
    return (known.index(kind) if kind in known else len(known)), kind


def kind_title(kind: Any, base: str = "") -> str:
    """The title of a likelihood kind, with its base measure if the likelihood is not that of continuous data."""
    title = trilemma.LIKELIHOOD_KINDS.get(str(kind), str(kind))
    return f"{title}, {base}" if base not in ("", "continuous") else title


def deciding(rows: pd.DataFrame) -> str | None:
    """The metric of quality by which models are ranked, among the summary rows of one dataset.

    Without one, it is the first metric of samples that ranks models.
    """
    samples = rows[rows["group"].isin(["coverage", "further"]) & rows["ranks"]]
    return trilemma.deciding_metric(rows, "quality") or next(iter(trilemma.metrics_in_order(samples)), None)


def pictured(rows: pd.DataFrame) -> str | None:
    """The metric of quality that figures show, among the summary rows of one dataset.

    It is the deciding one, else the first metric of samples.
    """
    samples = rows[rows["group"].isin(["quality", "coverage", "further"]) & (rows["sampler"] != "")]
    return deciding(samples) or next(iter(trilemma.metrics_in_order(samples)), None)


def costs(rows: pd.DataFrame) -> dict[str, str]:
    """The sampling costs that figures show quality against, with the titles of their axes."""
    own = rows[(rows["group"] == "sampling") & (rows["place"] == "first")]
    return {metric: axis_title(own, metric) for metric in trilemma.metrics_in_order(own)}
