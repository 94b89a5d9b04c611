"""The command `trilemma tune`, which searches for good options of a model on validation data."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..plugins import Registry
from . import output
from .options import json_option, parsed_config, plugin_option
from .output import echo, echo_json

if TYPE_CHECKING:
    from ..tuning.record import Tuned
    from ..tuning.search import Trial


@click.command(
    epilog="""\b
Examples:
  trilemma tune realnvp --dataset ring8
  trilemma tune vp-sde --dataset grid25 --trials 40 --budget 30s --seeds 2 -j 2
  trilemma tune gan --dataset ring8 --space lr=log:1e-4:1e-2 --space 'hidden=[64,64]|[128,128]'
  trilemma tune edm-unet --dataset digits --budget 60s --objective energy --sampler heun
  trilemma tune my-model --plugin ./my_model.py --dataset ring8 --save my-model-ring8.toml
"""
)
@click.argument("model")
@click.option("--dataset", required=True, help="The dataset whose training and validation splits are used.")
@click.option("--trials", type=click.IntRange(1), default=20, show_default=True, help="Number of trials.")
@click.option("--budget", metavar="10s | 2000steps", default="10s", show_default=True, help="Budget of each training.")
@click.option("--seeds", type=click.IntRange(1), default=1, show_default=True, help="Trainings of each trial.")
@click.option(
    "--further",
    type=click.IntRange(0),
    default=3,
    show_default=True,
    help="Seeds on which the best options and the defaults are compared in the end; 0 for none.",
)
@click.option(
    "--space",
    multiple=True,
    metavar="OPTION=RANGE",
    help="Search this option in LOW:HIGH, log:LOW:HIGH or A|B|C (may be repeated) [default: the ranges that the model "
    "declares]. A single value is fixed.",
)
@click.option(
    "--objective", metavar="QUANTITY", help="What to improve [default: nll; energy for models without a likelihood]."
)
@click.option("--sampler", metavar="NAME", help="The sampler, for an objective of samples [default: the first one].")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Set an option of the dataset (TOML).")
@click.option("--out", type=click.Path(file_okay=False), help="Run directory [default: runs/tune-MODEL-DATASET].")
@click.option(
    "--save",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write the record to this file, to keep it beside the recipe.",
)
@click.option("-j", "--jobs", type=click.IntRange(1), default=1, show_default=True, help="Trainings at a time.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Threads of each training.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N.")
@click.option("--search-seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the proposals.")
@click.option(
    "--limit",
    type=click.FloatRange(0, min_open=True),
    metavar="SECONDS",
    help="Wall seconds of one training with its evaluation [default: 600, or 10 times the budget].",
)
@click.option("--download", is_flag=True, help="Allow datasets to download their files.")
@plugin_option
@json_option
def tune(
    model: str,
    dataset: str,
    assignments: tuple[str, ...],
    save: Path | None,
    plugin_files: tuple[str, ...],
    as_json: bool,
    **options: Any,
) -> None:
    """Search for good options of a MODEL, on validation data only.

    Every trial is an ordinary training under the same budget, in a process of its own. Its value is computed on the
    validation split, which takes the place of the test split: the test split is dropped when the data is loaded. The
    first trial has the defaults of the model. In the end, the best options and the defaults are compared on further
    seeds.

    The run directory keeps every trial. After Ctrl-C, or for more trials, run the same command again. The record
    `tuned.toml` in it says what was searched, with all trials, and the command prints the best options as an entry of
    a suite. The search is Optuna's (`pip install 'trilemma[tune]'`), and `optuna-dashboard` shows its journal
    `optuna.log`.

    Exit codes: 0 the search is done, 2 a name or an option is wrong, or the defaults give no value, 130 it was
    interrupted.
    """
    from ..terminal.progress import TrialProgress
    from ..tuning.api import make_tuner

    if save is not None and not os.access(save.parent, os.W_OK):
        raise click.BadParameter(f"the folder '{save.parent}' does not exist or cannot be written", param_hint="--save")
    config = {}
    if assignments:
        cls = Registry(plugin_files).get("datasets", dataset)
        config = parsed_config(cls, assignments).model_dump(mode="json", exclude_unset=True)
    with TrialProgress(options["trials"]) as progress:
        tuner = make_tuner(
            model, dataset, config=config, plugins=plugin_files, progress=progress, told=progress.trial, **options
        )
        tuned = tuner.run()
    if tuned is not None:
        if save is not None and not tuner.interrupted:
            save.write_text(tuned.text(), encoding="utf-8")
        if as_json:
            echo_json(tuned.record())
        else:
            _show(tuned)
    if tuner.interrupted or tuned is None:
        echo(f"interrupted; run the same command again to continue in {tuner.path}", err=True)
        sys.exit(130)
    echo(f"the record is {tuner.path / 'tuned.toml'}" + (f" and {save}" if save else ""), err=True)


SHOWN = 10
"""The number of trials in the table, the best ones."""


def _show(tuned: Tuned) -> None:
    from rich.table import Table

    request = tuned.request
    table = Table(box=None, pad_edge=False)
    table.add_column("trial", justify="right")
    table.add_column(f"{request['objective']} (validation)", justify="right")
    for axis in tuned.axes:
        table.add_column(axis.name, justify="right")
    for trial in _in_order(tuned)[:SHOWN]:
        value = f"{trial.value:.5g}" if trial.value is not None else trial.why
        name = f"{trial.number} (defaults)" if trial.number == 0 else str(trial.number)
        table.add_row(name, value, *(_text(trial.values[axis.key]) for axis in tuned.axes))
    output.console().print(table)
    if len(tuned.trials) > SHOWN:
        echo(f"and {len(tuned.trials) - SHOWN} more trials")
    echo("")
    if not tuned.changed():
        echo("no options are better than the defaults")
        return
    compared = tuned.comparison
    if compared is not None:
        interval = "" if compared.low is None else f" [{compared.low:.4g}, {compared.high:.4g}]"
        verdict = "better than" if compared.better(tuned.lower_is_better) else "not clearly better than"
        numbers = f"{compared.best:.5g} against {compared.default:.5g}, difference {compared.difference:.4g}{interval}"
        echo(f"On {len(compared.seeds)} further seeds, trial {tuned.best.number} is {verdict} the defaults: {numbers}.")
        echo("")
    echo(tuned.fragment())


def _in_order(tuned: Tuned) -> list[Trial]:
    """The trials, best first; those without a value last."""
    sign = 1 if tuned.lower_is_better else -1
    return sorted(
        tuned.trials, key=lambda t: (t.value is None, sign * t.value if t.value is not None else 0.0, t.number)
    )


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "x".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
