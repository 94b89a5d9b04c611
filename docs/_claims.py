"""The tables, figures and paragraphs of the page on claims, from docs/claims.json and docs/claims.toml."""

from __future__ import annotations

import json
import tomllib
from collections import Counter
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from _markdown import table

import trilemma
from trilemma.harness.claims.record import Claim
from trilemma.harness.claims.registry import registered_claims
from trilemma.harness.claims.wording import CHECKED
from trilemma.harness.plugins import Registry
from trilemma.reports.sections.claim_figure import figure

FOLDER = Path(__file__).parent
SUMMARY_MARK, OTHER_MARK, CLAIMS_MARK = "<!-- summary -->", "<!-- other seeds -->", "<!-- claims -->"
"""Where docs/claims.md has the summary, the claims that were repeated with other seeds, and the claims one by one."""

WORDS = ("family", "claim", "citation", "link", "place", "checked", "score", "about")
"""What the page takes from the claims and not from the stored verdicts, because it may have been corrected since."""

Record = Mapping[str, Any]


@cache
def claims() -> list[Claim]:
    """The built-in claims."""
    return [each.claim for each in registered_claims(Registry(builtin_only=True))]


@cache
def stored(file: str = "claims.json") -> dict[str, dict[str, Any]]:
    """The verdicts by name of the claim that `trilemma claims --save` wrote into a file of this folder."""
    records = json.loads((FOLDER / file).read_text(encoding="utf-8"))["claims"]
    return {record["name"]: record for record in records if record["verdict"] != "not run"}


@cache
def remarks() -> dict[str, str]:
    """The paragraphs that say why a claim is contradicted or inconclusive, and what would settle it, by name."""
    found: dict[str, str] = tomllib.loads((FOLDER / "claims.toml").read_text(encoding="utf-8"))
    return found


def records() -> list[dict[str, Any]]:
    """The verdicts of all claims; one that is not stored was not run."""
    missing: dict[str, Any] = {"verdict": "not run", "why": "no stored result", "comparisons": []}
    return [
        {**claim.model_dump(), **stored().get(claim.name, missing), **claim.model_dump(include=set(WORDS))}
        for claim in claims()
    ]


def fill(markdown: str) -> str:
    """The page with its summary and its claims."""
    page = markdown.replace(SUMMARY_MARK, summary()).replace(OTHER_MARK, other_seeds())
    return page.replace(CLAIMS_MARK, "\n\n".join(map(section, records())))


DRAWN = (
    *("estimated-noise", "algorithm-2-on-fade", "sub-vp-likelihood", "corrector-alone-is-worst-learned"),
    *("adaptive-sde-is-faster-learned", "edm-ingredients", "spline-inverse", "sylvester-against-planar"),
    *("adaptive-ode-needs-fewer-evaluations", "maf-against-realnvp"),
)
"""The claims that were drawn at random to be repeated with other seeds."""


def other_seeds() -> str:
    """A table of the claims that were repeated with other seeds, with both verdicts: first those drawn at random."""
    first, found = stored(), stored("claims-other-seeds.json")
    rows = [
        [
            *(f"[{name}](#{name})", first[name]["verdict"], _estimates(first[name])),
            *(_seeds(again), again["verdict"], _estimates(again)),
        ]
        for name, again in sorted(found.items(), key=lambda item: item[0] not in DRAWN)
    ]
    return table(["Claim", "Verdict", "Estimates", "Other seeds", "Verdict", "Estimates"], rows)


def _estimates(record: Record) -> str:
    return "; ".join(f"{part['estimate']:.3g}" for part in record["comparisons"])


def _seeds(record: Record) -> str:
    return f"{min(record['seeds'])} to {max(record['seeds'])}"


def summary() -> str:
    """The number of claims with each verdict, the settings, and a table of all claims."""
    found = records()
    run = [record for record in found if record["verdict"] != "not run"]
    efforts = ", ".join(sorted({record["effort"] for record in run})) or "none yet"
    rows = [
        [
            f"[{record['name']}](#{record['name']})",
            record["family"],
            record["claim"],
            record["score"],
            record["verdict"],
        ]
        for record in found
    ]
    about = f"**{trilemma.claim_tally(found)}** of {len(found)} claims (effort: {efforts})."
    texts = Counter(CHECKED[record["checked"]] for record in found)
    sources = "What the papers say: " + "; ".join(f"{texts[text]} {text}" for text in CHECKED.values() if texts[text])
    return f"{about}\n\n{sources}.\n\n" + table(["Claim", "Family", "What the paper says", "Score", "Verdict"], rows)


def section(record: Record) -> str:
    """One claim: its sentence and place, its verdict with numbers, its figure, and a paragraph if it did not hold."""
    place = f"{record['citation']}, {record['place']}"
    linked = f"[{place}]({record['link']})" if record["link"] else place
    parts = [
        f"### {record['name']}",
        record["claim"] + (f" Tested on the {record['score']} score." if record["score"] else ""),
        f"Source: {trilemma.claim_source(record).replace(place, linked, 1)}.",
        record["about"],
        f"**{record['verdict']}**: {trilemma.claim_finding(record)}.",
        remarks().get(record["name"], ""),
    ]
    if record["verdict"] != "not run":
        parts.append(f"{record['steps']} training steps, {len(record['seeds'])} seeds.")
    parts += [f"{arm} is marked: {'; '.join(reasons)}." for arm, reasons in (record.get("marks") or {}).items()]
    picture = figure(record)
    parts.append(f"<div>{picture}</div>" if picture else "")  # inside a block, Markdown leaves it as it is
    return "\n\n".join(filter(None, parts))
