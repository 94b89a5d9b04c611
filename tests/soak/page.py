"""The page of the documentation with the figures of a soak."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from episode import Report

BEGIN, END = "<!-- figures of the soak, written by tests/soak -->\n", "<!-- end of the figures -->\n"


def write_page(file: Path, reports: list[Report], can_mount: bool) -> None:
    """Replace the figures in the page by those of these episodes."""
    before, _, rest = file.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    file.write_text(before + BEGIN + "\n".join(_figures(reports, can_mount)) + "\n" + END + after)


def _figures(reports: list[Report], can_mount: bool) -> list[str]:
    executors = list(dict.fromkeys(report.executor for report in reports))
    injected = {name: Counter[str]() for name in executors}
    for report in reports:
        injected[report.executor] += report.injected
    kinds = sorted(set().union(*injected.values()))
    total = sum(counter.total() for counter in injected.values())
    minutes = sum(report.seconds for report in reports) / 60
    problems = [f"{report.executor}: {problem}" for report in reports for problem in report.problems]
    lines = [
        "",
        f"{total} faults in {len(reports)} episodes with {sum(report.cells for report in reports)} cells, in "
        f"{minutes:.0f} minutes of episodes, several of which ran at once. Episodes in which something went wrong: "
        f"{sum(bool(report.problems) for report in reports)}.",
        "",
        "| Fault | " + " | ".join(executors) + " |",
        "| --- |" + " ---: |" * len(executors),
    ]
    lines += [f"| {kind} | " + " | ".join(str(injected[name][kind]) for name in executors) + " |" for kind in kinds]
    if not can_mount:
        lines += ["", "A full and a read-only disk were left out, because this machine does not allow mounts."]
    if problems:
        lines += ["", "What went wrong:", "", *(f"- {problem.splitlines()[0][:300]}" for problem in problems)]
    return [*lines, ""]
