"""What is asked of a run: a suite, with changes, and the directory that it runs into."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..contracts.budget import parse_budget
from ..errors import SuiteError
from .limits import too_many_seeds
from .own_data import suite_name
from .shards import Shard
from .suite import Document, read_document

Source = str | Path | Mapping[str, Any]
"""The name of a built-in suite, a path to a TOML file, or the content of such a file."""
Paths = str | Path | Sequence[str | Path]


def document_of(
    suite: Source,
    *,
    models: Sequence[str] | None = None,
    datasets: Sequence[str] | None = None,
    seeds: int | Sequence[int] | None = None,
    budget: str | None = None,
    set: Iterable[str] = (),
    own: Sequence[dict[str, Any]] = (),
) -> Document:
    """The document of a suite with the changes that were asked for; `own` are entries for own data.

    Raises SuiteError if the suite cannot be read, or for a change that cannot be made.
    """
    document = read_document(suite)
    document.select("models", models)
    document.select("datasets", datasets)
    if own:
        others = document.values["datasets"] if datasets is not None else []
        document.put("datasets", [*others, *own], "--data")
        document.put("name", suite_name(own, str(document.values.get("name", ""))), "--data")
    if seeds is not None:
        document.put("seeds", seeds if isinstance(seeds, int) else list(seeds), "--seeds")
    if budget is not None:
        document.put("budget", parse_budget(budget), "--budget")
    document.override(set)
    if wrong := too_many_seeds(document.values.get("seeds")):  # said before anything imports a plugin
        raise SuiteError([document.problem(("seeds",), wrong)])
    return document


def path_of(out: str | Path | None, document: Document, part: Shard | None) -> Path:
    """The run directory: `out`, or by default `runs/` and the name of the suite, with that of the shard."""
    if out is not None:
        return Path(out)
    return Path("runs") / f"{document.values.get('name')}{part.suffix if part else ''}"
