"""The section that compares models over all datasets."""

from __future__ import annotations

from typing import Any, ClassVar

import trilemma

from .. import html, markdown, numbers
from ..kit import digest

READING = (
    "The score of a model on a dataset is log(1 + value / c) of its best sampler setting in the deciding metric of "
    "quality, where c is about what chance does to the value of the true distribution. Lower is better. The "
    "interquartile mean is over datasets and seeds, with a stratified bootstrap of the seeds. The other columns "
    "compare the first model with the model of the row: the probability that a run of the first is better on a "
    "random dataset, and the probability of the Bayesian signed-rank test that it is practically better or "
    "practically equal, where differences below c are equal (from five datasets on). The first model has been chosen "
    "by the same data, so that these probabilities are too high for it."
)
HEADER = ["Model", "Score (interquartile mean)", "95 % interval", "First is better", "Practically better", "Equal"]


class Overall(trilemma.ReportSection):
    """The section of one summary over all datasets."""

    name: ClassVar[str] = "overall"
    order: ClassVar[int] = 25

    def render(self, view: trilemma.RunView) -> trilemma.Section | None:
        """Render the table. Returns None unless two datasets have the same models with three seeds each."""
        blocks = [_block(record) for record in trilemma.overall(digest(view).judged)]
        if not blocks:
            return None
        parts = [markdown.escape(READING)]
        for block in blocks:
            parts.append(markdown.escape(block["title"]))
            rows = [[markdown.escape(cell) for cell in row] for row in block["rows"]]
            parts.append(markdown.table(HEADER, rows, [False, *[True] * (len(HEADER) - 1)]))
            parts += [markdown.escape(block["left_out"])] if block["left_out"] else []
        return trilemma.Section(
            title="All datasets",
            html=html.render("overall.html.j2", reading=READING, header=HEADER, blocks=blocks),
            markdown="\n\n".join(parts),
        )


def _block(record: dict[str, Any]) -> dict[str, Any]:
    than = {pair["than"]: pair for pair in record["pairs"]}
    rows = []
    for line in record["models"]:
        pair = than.get(line["label"])
        name = f"{line['label']} (control)" if line["control"] else line["label"]
        chances = []
        if pair:
            practically = pair["practically"] or {}
            chances = [pair["probability_of_improvement"], practically.get("better"), practically.get("equal")]
        rows.append(
            [
                name,
                numbers.plain(line["score"]),
                f"{numbers.plain(line['low'])} to {numbers.plain(line['high'])}",
                *(["" if chance is None else f"{chance:.2f}" for chance in chances] or [""] * 3),
            ]
        )
    left_out = ", ".join(record["left_out"])
    where = ", ".join(filter(None, (record["budget"], record["device"], record["trained_on"])))
    return {
        "title": f"{where}: {', '.join(record['datasets'])}; {record['seeds']} seeds",
        "rows": rows,
        "left_out": f"Left out, because they lack a dataset, are marked, or have too few seeds: {left_out}."
        if left_out
        else "",
    }
