"""Writing the leaderboard of several runs as a static site: one page, its numbers as JSON, and the reports."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from markupsafe import Markup

import trilemma

from .. import html
from ..write import replace_file
from .board import Board, Run, boards


def write_site(paths: Sequence[Path], out: Path, title: str = "Leaderboard") -> list[Path]:
    """Write the leaderboard of these run directories into the folder `out`, and return the paths of the files.

    It holds `index.html`, `leaderboard.json`, and the reports of the runs that have one in `reports/`. Raises
    StoreError if a directory holds no run, or if `out` is one of them, or is not empty and was not made by trilemma.
    """
    paths = list({path.resolve(): path for path in paths}.values())
    views = [trilemma.RunView.open(path) for path in paths]
    runs = [replace(run, report=name) for run, name in zip(*_named(views), strict=True)]
    found = boards(paths, views, runs)
    out = out.resolve() if out.is_symlink() else out
    trilemma.claim_directory(out, of=out / "site")  # never the directory of a run
    page = html.render(
        "site/page.html.j2",
        title=title,
        boards=found,
        runs=runs,
        datasets=_distinct(board.dataset for board in found),
        budgets=_distinct(board.budget for board in found),
        machines=_distinct(place.run.machines for board in found for place in board.places),
        style=Markup("\n").join(html.assets(".css")),
        script=_asset("site/filter.js"),
        version=trilemma.__version__,
    )
    records = [record for board in found for record in _records(board)]
    files = {
        "index.html": trilemma.printable(page).encode(),
        "leaderboard.json": (json.dumps(records, indent=1) + "\n").encode(),
        **{
            run.report: (path / "report.html").read_bytes() for run, path in zip(runs, paths, strict=True) if run.report
        },
    }
    return [replace_file(out / name, content) for name, content in files.items()]


def _named(views: Sequence[trilemma.RunView]) -> tuple[list[Run], list[str]]:
    """The runs with distinct names, and the files of their reports, "" for a run without one."""
    runs, files = [], []
    taken: set[str] = set()
    for view in views:
        name = wanted = trilemma.printable(view.path.resolve().name) or "run"
        number = 1
        while name in taken:
            number += 1
            name = f"{wanted} #{number}"
        taken.add(name)
        about = [*view.environments] or [view.environment]
        machines = ", ".join(dict.fromkeys(_machine(environment) for environment in about))
        version = str((view.environment.get("versions") or {}).get("trilemma", ""))
        runs.append(Run(name, machines, view.time, version))
        plain = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-").lower() or "run"
        file = f"reports/{plain}-{len(runs)}.html"
        files.append(file if (view.path / "report.html").is_file() else "")
    return runs, files


def _machine(environment: dict[str, Any]) -> str:
    gpus = environment.get("gpus")
    names = list(dict.fromkeys(map(str, gpus))) if isinstance(gpus, list) else []
    return " ".join(", ".join([*names, str(environment.get("cpu") or "unknown machine")]).split())


def _records(board: Board) -> list[dict[str, Any]]:
    return [
        {
            **{"dataset": board.dataset, "budget": board.budget, "device": board.machine, "run": place.run.name},
            **{"machine": place.run.machines, "label": place.label, "sampler": place.sampler},
            **{"control": place.control, "marked": place.marked, "verified": place.verified},
            "numbers": {board.table.columns[i]: asdict(number) for i, number in place.cells.items()},
        }
        for place in board.places
    ]


def _distinct(values: Any) -> list[str]:
    return [value for value in dict.fromkeys(values) if value]


def _asset(name: str) -> Markup:
    return Markup((html.TEMPLATES / name).read_text(encoding="utf-8"))
