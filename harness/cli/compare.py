"""The command `trilemma compare`, which compares two models of a run directory."""

from __future__ import annotations

import click

from .options import json_option
from .output import echo, echo_json


@click.command(
    epilog="""\b
Examples:
  trilemma compare runs/quick realnvp vp-sde
  trilemma compare runs/quick realnvp vp-sde --json | jq '.[] | select(.better != "")'
"""
)
@click.argument("directory", metavar="DIR", type=click.Path(file_okay=False))
@click.argument("a", metavar="MODEL")
@click.argument("b", metavar="MODEL")
@json_option
def compare(directory: str, a: str, b: str, as_json: bool) -> None:
    """Compare two models of the run directory DIR, named by their labels, by every criterion that both have.

    Each model stands with its best sampler setting, and with the costs of the one that is best in quality. They differ
    if p <= 0.05, by moderated variances over training seeds; with fewer than three seeds nothing is concluded.
    """
    from ..analysis.conclusions import number
    from ..analysis.verdicts import compare as comparison
    from ..api import load_results

    records = comparison(load_results(directory), a, b)
    if as_json:
        echo_json(records)
        return
    for record in records:
        values = []
        for line in (record["a"], record["b"]):
            sampler = f" [{line['sampler']}]" if line["sampler"] else ""
            values.append(f"{line['label']}{sampler} {number(line['value'])}")
        p = record["p_value"]
        said = record["note"] or (f"{record['better']} is better" if record["better"] else "not told apart")
        chance = "" if p is None else f" (p = {number(p, 2)})".replace("= <", "<")
        echo(f"{record['dataset']}, {record['criterion']}: {', '.join(values)}: {said}{chance}")
