"""The hooks of plugins. A plugin implements any of them and names its module in the entry-point group `trilemma`."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import pluggy

from ..errors import PluginError, did_you_mean

if TYPE_CHECKING:
    from pathlib import Path

    import click
    import pandas as pd

    from .dataset import Dataset
    from .metric import Metric
    from .model import Model
    from .observer import Observer
    from .section import ReportSection

hookspec = pluggy.HookspecMarker("trilemma")
hookimpl = pluggy.HookimplMarker("trilemma")


# Registration. A hook returns classes, or a mapping of names to references `package.module:Class`, which are imported
# only when they are used. A reference that begins with a dot is relative to the package of the plugin's module.


@hookspec
def trilemma_models() -> list[type[Model]] | dict[str, str]:  # type: ignore[empty-body]
    """Return the model classes of this plugin, or references to them by name.

    Example: `return [Gauss]`, or `return {"gauss": ".gauss:Gauss"}`
    """


@hookspec
def trilemma_datasets() -> list[type[Dataset]] | dict[str, str]:  # type: ignore[empty-body]
    """Return the dataset classes of this plugin, or references to them by name.

    Example: `return [Ring]`, or `return {"ring": ".ring:Ring"}`
    """


@hookspec
def trilemma_metrics() -> list[type[Metric]] | dict[str, str]:  # type: ignore[empty-body]
    """Return the metric classes of this plugin, or references to them by name.

    Example: `return [EnergyDistance]`, or `return {"energy": ".energy:EnergyDistance"}`
    """


@hookspec
def trilemma_report_sections() -> list[type[ReportSection]] | dict[str, str]:  # type: ignore[empty-body]
    """Return the report-section classes of this plugin, or references to them by name.

    Example: `return [LossCurves]`, or `return {"curves": ".curves:LossCurves"}`
    """


@hookspec
def trilemma_own_data(path: Path) -> dict[str, Any] | None:  # type: ignore[empty-body]
    """Return the entry of a suite for a file or folder that a user names with `--data`, or None for an unknown kind.

    The entry is a mapping with the `name` of a dataset, a `label`, which tables show, and its `config`. Raise DataError
    for a file that cannot be used. It is cheap: the data itself is loaded later, in a process of its own.

    Example: `if path.suffix == ".h5": return {"name": "h5", "label": path.stem, "config": {"path": str(path)}}`
    """


@hookspec
def trilemma_observers() -> list[type[Observer]] | dict[str, str]:  # type: ignore[empty-body]
    """Return the observer classes of this plugin, or references to them by name.

    Example: `return [Pager]`, or `return {"pager": ".pager:Pager"}`
    """


@hookspec
def trilemma_papers() -> str:  # type: ignore[empty-body]
    """Return BibTeX entries. The field `keywords` names what an entry is about, such as `models/gauss`.

    Other names are `samplers/NAME`. `trilemma export` writes the entries of what a run used. The field is left out.

    Example: `return (Path(__file__).parent / "papers.bib").read_text()`
    """


@hookspec
def trilemma_claims() -> list[Path]:  # type: ignore[empty-body]
    """Return the TOML files of published claims that `trilemma claims` tests with the models of this plugin.

    Example: `return [Path(__file__).parent / "claims.toml"]`
    """


@hookspec
def trilemma_commands(group: click.Group) -> None:
    """Add commands to the `trilemma` command line.

    Example: `group.add_command(hello)`
    """


# Observers. They run in the parent process. An exception in an observer is reported and does not fail a cell.


@hookspec
def trilemma_run_started(path: Path, cells: list[dict[str, Any]]) -> None:
    """Called when a run has started in `path`; `cells` are the planned cells (id, model, dataset, seed, todo).

    Example: `print(f"{len(cells)} cells in {path}")`
    """


@hookspec
def trilemma_cell_started(path: Path, cell: dict[str, Any]) -> None:
    """Called when the process of a cell has started.

    Example: `print("started", cell["label"])`
    """


@hookspec
def trilemma_cell_finished(path: Path, cell: dict[str, Any], outcome: dict[str, Any]) -> None:
    """Called when a cell has ended; `outcome` says how (`outcome`, `phase`, `elapsed`, `message`, `log_tail`).

    Example: `if outcome["outcome"] != "ok": page_someone(cell["label"], outcome["message"])`
    """


@hookspec
def trilemma_run_finished(  # type: ignore[empty-body]
    path: Path, results: pd.DataFrame, sections: list[type[ReportSection]]
) -> list[Path] | None:
    """Called when a run has ended, also when it was interrupted.

    `results` is the frame of `trilemma.load_results(path)`, and `sections` are the report sections of the loaded
    plugins by rising `order`. Return the files that were written; the command line then names them. If an
    implementation raises, the command reports the error, and its exit code is 1.

    Example: `results.to_parquet(path / "results.parquet"); return [path / "results.parquet"]`
    """


@hookspec
def trilemma_notebook(  # type: ignore[empty-body]
    path: Path, results: pd.DataFrame, sections: list[type[ReportSection]]
) -> str | None:
    """Return HTML by which a notebook shows a run, or None; the first plugin that returns some is used.

    The arguments are those of `trilemma_run_finished`. All text of others must be escaped.

    Example: `return f"<p>{results['cell'].nunique()} cells</p>"`
    """


def refuse_misspelt(module: Any) -> None:
    """Raise PluginError for a function of a plugin that is named like a hook and is none, or lacks the decorator."""
    known = [name for name in globals() if name.startswith("trilemma_")]
    for name, function in inspect.getmembers(module, inspect.isfunction):
        if name.startswith("trilemma_") and name not in known:
            raise PluginError(f"line {line_of(function)}: there is no hook '{name}' ({did_you_mean(name, known)})")
        if name in known and not hasattr(function, "trilemma_impl"):
            raise PluginError(
                f"line {line_of(function)}: hook '{name}' has no decorator; write @trilemma.hookimpl above it"
            )


def line_of(function: Any) -> int:
    """The line where a function is defined; 0 if there is none."""
    return getattr(getattr(inspect.unwrap(function), "__code__", None), "co_firstlineno", 0)
