"""The section of dataset cards, environment, plugins and suite."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import trilemma

from .. import html, markdown, numbers
from ..kit import digest

Facts = list[tuple[str, str]]


class Provenance(trilemma.ReportSection):
    """The provenance section: dataset cards, environment, plugin versions and suite, in folded blocks."""

    name: ClassVar[str] = "provenance"
    order: ClassVar[int] = 90

    def render(self, view: trilemma.RunView) -> trilemma.Section | None:
        """Render the folded blocks. Returns None if nothing is known."""
        run = digest(view)
        blocks: list[tuple[str, str, Facts]] = []
        for dataset in [*run.datasets, *(name for name in view.cards if name not in run.datasets)]:
            card = view.cards.get(dataset)
            if card:
                blocks.append((f"Dataset {dataset}", _headline(card), list(_flat(card))))
        plugins = run.rows[run.rows["plugin"] != ""].drop_duplicates(["plugin", "plugin_version"])
        blocks.append(("Environment", "", list(_flat(view.environment))))
        blocks.append(("Plugins", "", list(zip(plugins["plugin"], plugins["plugin_version"], strict=True))))
        blocks.append(("Suite", str(view.suite.get("name") or ""), list(_flat(view.suite))))
        blocks = [block for block in blocks if block[2]]
        if not blocks:
            return None
        parts = []
        for title, note, facts in blocks:
            rows = [[markdown.escape(name), markdown.escape(value)] for name, value in facts]
            summary = markdown.escape(f"{title} ({note})" if note else title)
            body = markdown.table(["", ""], rows)
            parts.append(f"<details><summary>{summary}</summary>\n\n{body}\n\n</details>")
        return trilemma.Section(
            title="Data and environment",
            html=html.render("provenance.html.j2", blocks=blocks),
            markdown="\n\n".join(parts),
        )


def _headline(card: Mapping[str, Any]) -> str:
    parts = [str(card.get("license") or "")]
    if card.get("entropy") is not None:
        error = card.get("entropy_error")
        parts.append(f"entropy {' ± '.join(filter(None, numbers.with_interval(card['entropy'], error or 0)))} nats")
    if card.get("sha256"):
        parts.append(f"sha256 {str(card['sha256'])[:12]}")
    return ", ".join(filter(None, parts))


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield nested values with dotted names. Empty values are left out."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, (list, tuple)) and value and all(isinstance(item, Mapping) for item in value):
            for index, item in enumerate(value):
                yield from _flat(item, f"{prefix}{name}[{index}].")
        elif isinstance(value, (list, tuple)):
            if value:
                yield f"{prefix}{name}", ", ".join(map(str, value))
        elif value is not None and value != "":
            yield f"{prefix}{name}", str(value)
