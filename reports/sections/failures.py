"""The section of failures."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import trilemma

from .. import html, markdown, numbers
from ..frame import failed
from ..kit import digest


class Failures(trilemma.ReportSection):
    """The failures section: each failed cell and evaluation with outcome, phase, time, message and end of log."""

    name: ClassVar[str] = "failures"
    order: ClassVar[int] = 50

    def render(self, view: trilemma.RunView) -> trilemma.Section | None:
        """Render the list. Returns None if it is empty. Metrics that are not defined for a model are listed apart."""
        run = digest(view)
        ended = failed(run.rows)
        undefined = ended["outcome"] == "unsupported"
        rows = [_record(row, run.run_label(row), view) for row in ended[~undefined].itertuples()]
        groups = ended[undefined].groupby(["label", "message"], sort=False)["dataset_id"]
        notes = [(str(label), str(message), ", ".join(ids.unique())) for (label, message), ids in groups]
        if not rows and not notes:
            return None
        header = ["Model", "Dataset", "Seed", "Sampler", "Outcome", "Phase", "After", "Message"]
        keys = ["label", "dataset", "seed", "sampler", "outcome", "phase", "elapsed", "message"]
        parts = [markdown.table(header, [[markdown.escape(row[key]) for key in keys] for row in rows])] if rows else []
        for row in rows:
            if row["log"]:
                title = markdown.escape(f"{row['label']}, {row['dataset']}, seed {row['seed']}")
                parts.append(f"<details><summary>{title}</summary>\n\n{markdown.code_block(row['log'])}\n\n</details>")
        if notes:
            lines = [[markdown.escape(cell) for cell in note] for note in notes]
            body = markdown.table(["Model", "Reason", "Datasets"], lines)
            parts.append(
                "<details><summary>Metrics that are not defined for a model (these are not failures)</summary>"
                f"\n\n{body}\n\n</details>"
            )
        return trilemma.Section(
            title="Failures" if rows else "Not defined",
            html=html.render("failures.html.j2", rows=rows, notes=notes),
            markdown="\n\n".join(parts),
        )


def _record(row: Any, label: str, view: trilemma.RunView) -> dict[str, str]:
    return {
        "label": label,
        "dataset": row.dataset_id,
        "seed": str(row.seed),
        "sampler": row.sampler,
        "outcome": row.outcome,
        "phase": row.phase,
        "elapsed": numbers.duration(row.elapsed) if math.isfinite(row.elapsed) else "",
        "message": row.message,
        "log": "" if row.outcome == "interrupted" else view.log_tail(row.cell),
    }
