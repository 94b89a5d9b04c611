"""The commands `trilemma sample` and `trilemma score-points`, which use a trained model of a run."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trilemma import __version__

from ..errors import UnsupportedError
from ..text import printable
from .activity import activity
from .options import assigned, json_option, plugin_option, set_option
from .output import echo, echo_json

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..trained.model import TrainedModel
    from ..trained.settings import Setting


def _choosing(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that choose a trained model of a run."""
    options = (
        click.option("--dataset", metavar="NAME", help="The dataset, if the model was trained on several."),
        click.option("--seed", type=int, metavar="N", help="The training seed [default: the lowest]."),
        click.option("--run", "directory", metavar="DIR", type=click.Path(file_okay=False),
                     help="Run directory [default: latest]."),
        click.option("--force", is_flag=True, help="Replace the file if it exists."),
        plugin_option,
        json_option,
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


@click.command(
    epilog="""\b
Examples:
  trilemma sample realnvp -n 1000 -o samples.npz
  trilemma sample vp-sde --dataset digits --seed 1 -n 100 -o digits.png
  trilemma sample vp-sde --sampler heun --set steps=50 -n 100000 -o samples.csv --run runs/quick
  trilemma sample "realnvp on ring8, seed 0" -n 500 --draw 1 -o more.npz --json
"""
)
@click.argument("wanted", metavar="CELL|MODEL")
@click.option("-n", "n", type=click.IntRange(1), default=1000, show_default=True, help="Number of samples.")
@click.option("-o", "--output", required=True, metavar="FILE", type=click.Path(path_type=Path),
              help="The file: .npz, .csv or .png.")  # fmt: skip
@click.option("--sampler", metavar="SETTING", help="Label of a sampler setting of the run, or name of a sampler "
              "[default: the first of the run].")  # fmt: skip
@set_option
@click.option("--draw", type=click.IntRange(0), default=0, show_default=True,
              help="0 for the samples of the evaluation, another number for an independent set.")  # fmt: skip
@_choosing
def sample(
    wanted: str,
    n: int,
    output: Path,
    sampler: str | None,
    assignments: tuple[str, ...],
    draw: int,
    dataset: str | None,
    seed: int | None,
    directory: str | None,
    force: bool,
    plugin_files: tuple[str, ...],
    as_json: bool,
) -> None:
    """Draw samples of a trained model of a run, in data space, and write them to a file.

    The model is named by its label or name, by the label of a cell such as "realnvp on ring8, seed 0", or by the start
    of the id of a cell. The run directory is by default the one in runs/ that was written last.

    The same command always gives the same samples. With --draw 0 they begin with the samples that the report shows, if
    the run has evaluated the sampler setting. They are drawn in parts, so a large -n needs little memory.

    The end of the name decides the format. A .npz file holds the array `samples`, of shape (n, *shape), and the text
    `about`, which is JSON. A .csv file has a header and a row for each sample, with the names of the columns of a
    table. A .png file shows a grid of at most 400 images, or a scatter plot of points in two dimensions.
    """
    from ..trained.files import SAMPLE_FILES, check_target, write, write_samples

    check_target(output, SAMPLE_FILES, force)
    with activity("sampling") as report:
        model = _opened(wanted, dataset, seed, directory, plugin_files, report)
        setting = _changed(model, sampler, assigned(assignments)) if assignments else model.setting(sampler)
        about = {**_about(model), "sampler": setting.label, "options": setting.sampler.model_dump(mode="json"),
                 "draw": draw, "batch": setting.batch}  # fmt: skip
        batches = model.batches(n, sampler=setting, draw=draw)
        content = write_samples(output, n, model.shape, model.levels, batches, about, model.coordinates)
        shown = write(output, content, force)
    if as_json:
        echo_json({**about, "file": str(output), "n": shown, "shape": list(model.shape), "notes": list(model.notes)})
        return
    less = f" (a picture shows at most {shown})" if shown < n else ""
    echo(f"{output}: {shown:,} samples{less} of {model.label}, {setting.label}", err=True)


@click.command(
    "score-points",
    epilog="""\b
Examples:
  trilemma score-points realnvp samples.npz > log_prob.csv
  trilemma score-points vp-sde table.csv --dataset ring8 -o log_prob.npz --run runs/quick
  trilemma score-points realnvp points.npy --json | jq .mean
""",
)
@click.argument("wanted", metavar="CELL|MODEL")
@click.argument("points", metavar="FILE", type=click.Path(path_type=Path))
@click.option("-o", "--output", metavar="FILE", type=click.Path(path_type=Path),
              help="The file of the values: .npz or .csv [default: CSV on standard output].")  # fmt: skip
@_choosing
def score_points(
    wanted: str,
    points: Path,
    output: Path | None,
    dataset: str | None,
    seed: int | None,
    directory: str | None,
    force: bool,
    plugin_files: tuple[str, ...],
    as_json: bool,
) -> None:
    """Compute the log-density of a trained model at the points in FILE, in nats and in data space.

    The model is chosen as by `trilemma sample`. FILE is a .npz file with one array (or one that is named `samples`,
    `points` or `x`), a .npy file, or a .csv file with or without a header, with a row for each point. Images are given
    as intensity levels, and the values are then bounds on the log-probability of the levels.

    The kind of likelihood is printed with the mean: exact, ode, map, bound or estimate. Values of different kinds must
    not be compared. For a model without a likelihood the command says `unsupported` and ends with exit code 2.
    """
    from ..trained.files import VALUE_FILES, check_target, read_points, write, write_values

    if output is not None:
        check_target(output, VALUE_FILES, force)
    with activity("log-density") as report:
        given = read_points(points)
        model = _opened(wanted, dataset, seed, directory, plugin_files, report)
        try:
            values = model.log_prob(given)
        except UnsupportedError as error:
            raise UnsupportedError(f"unsupported: {error}") from None
    n, (mean, half) = len(values), _mean(values)
    about = {**_about(model), "likelihood": model.likelihood, "unit": "nats", "n": n, "mean": mean, "half_width": half}
    if output is not None:
        write(output, write_values(output, values, about), force)
    if as_json:
        more = {"log_prob": values.tolist()} if output is None else {"file": str(output)}
        echo_json({**about, "notes": list(model.notes), **more})
    elif output is None:
        click.echo("log_prob\n" + "\n".join(map(repr, values.tolist())))
    number = "unbounded (some densities are 0)" if mean is None else f"{mean:.4f}"
    interval = "" if half is None else f" ± {half:.4f}"
    echo(
        f"{n:,} points of {model.label}: mean log-density {number}{interval} nats ({model.likelihood} likelihood)",
        err=True,
    )


def _mean(values: NDArray[np.float64]) -> tuple[float | None, float | None]:
    """The mean and the half-width of its 95 % interval; None for what is not finite."""
    if not all(map(math.isfinite, values)):
        return None, None
    half = 1.96 * float(values.std(ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else None
    return float(values.mean()), half


def _opened(
    wanted: str,
    dataset: str | None,
    seed: int | None,
    directory: str | None,
    plugin_files: tuple[str, ...],
    report: Callable[[float, str], None],
) -> TrainedModel:
    from ..execution.stored import latest_run
    from ..trained.model import open_model

    run = latest_run() if directory is None else Path(directory)
    model = open_model(run, wanted, dataset=dataset, seed=seed, plugins=list(plugin_files) or None, progress=report)
    for note in model.notes:
        click.echo(f"{click.style('warning', fg='yellow')}: {printable(note)}", err=True)
    return model


def _changed(model: TrainedModel, sampler: str | None, changes: dict[str, Any]) -> Setting:
    """A sampler setting with other options. What they leave out is as in the setting of the run, or the default."""
    if sampler in {cls.name for cls in model.model.samplers} and sampler not in model.samplers:
        return model.setting({"name": sampler, **changes})
    known = model.setting(sampler).sampler
    return model.setting({"name": known.name, **known.model_dump(exclude_defaults=True), **changes})


def _about(model: TrainedModel) -> dict[str, Any]:
    """What identifies a trained model."""
    return {"cell": model.cell, "label": model.label, "seed": model.seed, "trilemma": __version__}
