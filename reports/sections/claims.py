"""The section on published claims, for run directories that hold their experiments."""

from __future__ import annotations

from typing import Any, ClassVar

import trilemma

from .. import html, markdown
from .claim_figure import figure

READING = (
    "Each claim is a comparison that was fixed before it was run, with a smallest effect of interest. The verdict is "
    "computed over training seeds. Of the verdicts other than inconclusive, at most 5 % are expected to be "
    "false (Benjamini & Hochberg 1995). Points in the figures are seeds, and bars are means."
)


class Claims(trilemma.ReportSection):
    """The section of the claims whose experiments the run directory holds."""

    name: ClassVar[str] = "claims"
    order: ClassVar[int] = 5

    def render(self, view: trilemma.RunView) -> trilemma.Section | None:
        """Render the verdicts. Returns None for a run directory without the experiment of any claim."""
        if view.frame.empty or not view.frame["budget"].astype(str).str.endswith(" steps").any():
            return None
        found = max((_judged(view, effort) for effort in ("full", "quick")), key=len)
        if not found:
            return None
        rows = [[record["name"], record["verdict"], record["finding"]] for record in found]
        text = [markdown.escape(READING), markdown.escape(trilemma.claim_tally(found))]
        header = ["Claim", "Verdict", "What was found"]
        text.append(markdown.table(header, [[markdown.escape(cell) for cell in row] for row in rows]))
        return trilemma.Section(
            title="Published claims",
            html=html.render(
                "claims.html.j2", reading=READING, tally=trilemma.claim_tally(found), header=header, claims=found
            ),
            markdown="\n\n".join(text),
        )


def _judged(view: trilemma.RunView, effort: Any) -> list[dict[str, Any]]:
    """The claims that were run with an effort, each with its finding and figure."""
    records = trilemma.claims(view.frame, effort)
    return [
        {
            **record,
            "source": trilemma.claim_source(record),
            "finding": trilemma.claim_finding(record),
            "figure": figure(record),
        }
        for record in records
        if record["verdict"] != "not run"
    ]
