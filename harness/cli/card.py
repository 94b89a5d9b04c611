"""The command `trilemma card`, which tests metrics on a panel of planted defects."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import DataError
from ..plugins import Registry
from . import output
from .options import json_option, names_option, parsed_config, plugin_option, set_option

if TYPE_CHECKING:
    from rich.text import Text

    from ..conformance.card import Card, QuantityCard, Reading, SpaceCard


@click.command(
    epilog="""\b
Examples:
  trilemma card energy
  trilemma card recall_metric --plugin ./recall_metric.py --space 2d,16d
  trilemma card wasserstein --set n=1000 --repeats 25 --json
  trilemma card --all --seconds 600 --out cards.json
"""
)
@click.argument("names", nargs=-1, metavar="[METRIC]...")
@click.option("--all", "everything", is_flag=True, help="Make the cards of all registered metrics.")
@names_option("--space", "Only these spaces of the panel: 2d, 16d, digits.")
@click.option(
    "--repeats",
    type=click.IntRange(min=2),
    help="Repeats of the panel. By default as many as fit into --seconds, 13 to 40; fewer than 13 cannot show that a "
    "metric prefers a defect.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0),
    default=120.0,
    show_default=True,
    help="CPU seconds for each metric and space, if --repeats is not given.",
)
@click.option(
    "--limit",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Leave out a metric in a space where its panel would take more CPU seconds than this.",
)
@click.option("--n", type=click.IntRange(min=2), help="Points per sample set, for metrics with an option n.")
@click.option("--draws", type=click.IntRange(min=2), help="Sample sets, for metrics with an option draws.")
@set_option
@plugin_option
@json_option
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the cards to this JSON file after each metric. Cards that it has already and that still hold are kept, "
    "so that an interrupted command goes on where it was.",
)
def card(
    names: tuple[str, ...],
    everything: bool,
    space: list[str] | None,
    assignments: tuple[str, ...],
    plugin_files: tuple[str, ...],
    as_json: bool,
    out: Path | None,
    **sizes: Any,
) -> None:
    """Show which defects a metric sees, which it prefers to the truth, and what it costs.

    Nothing is trained. A metric is computed for fresh points of a known distribution, or for real images, and for the
    same with one defect planted: points that are shifted, too narrow or too wide, lost modes, bridges, outliers,
    duplicates, training points, heavy tails, noise, blur and more, each weak and strong. That is repeated with new
    points. The table gives the power, which is the share of repeats in which a value is worse than nearly all values
    of the truth, for the weak and for the strong defect. A defect that a number prefers to the truth is marked
    `prefers`: models must not be ranked by this number in such a space.

    The sizes are the defaults of the metric, or those of --n, --draws and --set.

    Exit codes: 0 the cards are made, 2 a name or an option is wrong.
    """
    registry = Registry(plugin_files)
    if bool(names) == everything:
        raise click.UsageError("name the metrics, or give --all")
    from ..conformance.card import Card
    from ..conformance.card_maker import make_card, request_of, source_of
    from ..conformance.panel import plans

    plans(space)  # an unknown name stops the command before anything is computed
    known = registry.classes("metrics")
    classes = list(known.values()) if everything else [registry.get("metrics", name) for name in dict.fromkeys(names)]
    configs = [parsed_config(cls, assignments) if assignments else None for cls in classes]
    stored = _stored(out)
    if everything:
        stored = {name: record for name, record in stored.items() if name in known}
    with _Bar() as bar:
        for cls, config in zip(classes, configs, strict=True):
            wanted = {"request": request_of(config, spaces=space, **sizes), "source": source_of(cls)}
            old = stored.get(cls.name)
            if old is not None and {key: old.get(key) for key in wanted} == wanted:
                made = Card.of(old)
            else:
                made = make_card(cls, config, spaces=space, progress=bar.show, **sizes)
                stored[cls.name] = made.record()
                if out is not None:
                    _write(out, stored)
            if not as_json:
                _print(made)
    if as_json:
        output.echo_json([stored[cls.name] for cls in classes])


class _Bar:
    """A progress bar on standard error, if it is a terminal."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        from ..terminal.console import SafeConsole

        console = SafeConsole(stderr=True, markup=False, emoji=False)
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bars.add_task("", total=1)

    def __enter__(self) -> _Bar:
        self._bars.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bars.stop()

    def show(self, done: int, total: int, text: str) -> None:
        """Show that `done` of `total` evaluations are finished."""
        self._bars.update(self._task, completed=done, total=total, description=text)


def _stored(out: Path | None) -> dict[str, Any]:
    """The cards in a file by name of the metric. Raises DataError for a file that holds something else."""
    if out is None:
        return {}
    if not out.parent.is_dir():
        raise DataError(f"--out {out}: there is no folder {out.parent}; make it first")
    if not out.exists():
        return {}
    try:
        return {record["metric"]: record for record in json.loads(out.read_text(encoding="utf-8"))["cards"]}
    except (ValueError, KeyError, TypeError):
        raise DataError(f"--out {out} holds something else than cards; give another name, or remove it") from None


def _write(out: Path, stored: dict[str, Any]) -> None:
    """Write the cards, one a line, under a temporary name that is then renamed."""
    lines = ",\n".join(json.dumps(stored[name], separators=(",", ":")) for name in sorted(stored))
    staging = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        staging.write_text(f'{{"cards": [\n{lines}\n]}}\n', encoding="utf-8")
        staging.replace(out)
    finally:
        staging.unlink(missing_ok=True)


def _print(made: Card) -> None:
    console = output.console()
    console.print(made.metric, style="bold", highlight=False)
    if made.why:
        console.print(f"  no panel: {made.why}", highlight=False, markup=False)
    for space in made.spaces:
        if space.why:
            console.print(f"  {space.space}: {space.why}", highlight=False, markup=False)
        else:
            _print_space(console, space)


def _print_space(console: Any, space: SpaceCard) -> None:
    from rich.table import Table

    sizes = ", ".join(f"{key} {value}" for key, value in space.options.items() if key in ("n", "draws"))
    counts = {quantity.n for quantity in space.quantities}
    if len(counts) == 1 and None not in counts and f"n {next(iter(counts))}" not in sizes:
        sizes += f" (n {next(iter(counts))} used)"
    about = f"{space.repeats} repeats, power at level {space.level:.2g}, {space.seconds:.2g} CPU s each"
    console.print(f"\n{space.space}: {space.title}, {about}", highlight=False, markup=False)
    table = Table(box=None, pad_edge=False)
    for title in ("defect", "weak / strong", *(quantity.quantity for quantity in space.quantities)):
        table.add_column(title, overflow="fold")
    for row, reading in enumerate(space.quantities[0].readings if space.quantities else ()):
        amounts = " / ".join(f"{amount:g}" for amount in reading.amounts)
        table.add_row(reading.defect, amounts, *(_cell(quantity.readings[row]) for quantity in space.quantities))
    table.add_section()
    table.add_row("models may be ranked", "", *(_verdict(quantity) for quantity in space.quantities))
    console.print(table, highlight=False)
    if sizes:
        console.print(f"sizes: {sizes}", highlight=False, markup=False)


def _cell(reading: Reading) -> Text:
    from rich.text import Text

    power = " / ".join("-" if power is None else f"{power:.2f}" for power in reading.power)
    return Text.assemble(power, (" prefers", "red")) if reading.prefers else Text(power)


def _verdict(quantity: QuantityCard) -> Text:
    from rich.text import Text

    if quantity.better == "none":
        return Text("no direction")
    if quantity.may_rank:
        return Text("yes")
    return Text("no, but they are", "red") if quantity.ranks else Text("no")
