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
    unit = rows.loc[rows["metric"] == metric, "unit"].iloc[0]
    return title_of(rows, metric) + (f" [{unit}]" if unit else "")


def kind_order(kind: str) -> tuple[int, str]:
    """The sort key of a likelihood kind."""
    known = list(trilemma.LIKELIHOOD_KINDS)
    return (known.index(kind) if kind in known else len(known)), kind


def kind_title(kind: Any) -> str:
    """The title of a likelihood kind."""
    return trilemma.LIKELIHOOD_KINDS.get(str(kind), str(kind))


def deciding(rows: pd.DataFrame) -> str | None:
    """The metric of quality by which models are ranked, among the summary rows of one dataset.

    It is the first metric of the group quality, else the first metric of samples that ranks models.
    """
    samples = rows[rows["group"].isin(["quality", "coverage", "further"])]
    candidates = [samples[samples["group"].eq("quality") & samples["place"].eq("first")], samples[samples["ranks"]]]
    return next((found[0] for part in candidates if (found := trilemma.metrics_in_order(part))), None)


def pictured(rows: pd.DataFrame) -> str | None:
    """The metric of quality that figures show, among the summary rows of one dataset.

    It is the first metric of quality in the main table, which has a floor, else the first metric of samples.
    """
    samples = rows[rows["group"].isin(["quality", "coverage", "further"]) & (rows["sampler"] != "")]
    candidates = [samples[samples["group"].eq("quality") & samples["place"].ne("more")], samples]
    return next((found[0] for part in candidates if (found := trilemma.metrics_in_order(part))), None)


def costs(rows: pd.DataFrame) -> dict[str, str]:
    """The sampling costs that figures show quality against, with the titles of their axes."""
    own = rows[(rows["group"] == "sampling") & (rows["place"] == "first")]
    return {metric: axis_title(own, metric) for metric in trilemma.metrics_in_order(own)}
