"""The overview section: what was run, how it ended, and how to read the numbers."""

from __future__ import annotations

from typing import Any, ClassVar

import pandas as pd

import trilemma

from .. import html, markdown
from ..frame import failed
from ..kit import Digest, digest

READING = (
    (
        "Floor",
        "the value of a metric for two independent draws of real data of the same size. A model that does not copy "
        "data cannot be better than the floor, except by chance. In the excess V and in energies, the bias of finite "
        "samples cancels; they are about 0 for a perfect model.",
    ),
    (
        "Interval",
        "the 95 % interval of the mean over training seeds, from three seeds on. The variances of all models of a "
        "table are moderated towards a common one, because three seeds say little about the variance of one model. "
        "With fewer seeds there is only the interval of the metric for one trained model.",
    ),
    (
        "Best",
        "not told apart from the leader: models are compared by their differences with it, with a correction for the "
        "number of models and for the choice of the leader. A cost is compared only among the best in quality. Marked "
        "rows (!) rank nowhere.",
    ),
    (
        "Likelihood",
        "there are four kinds. Exact is the density of the model itself. ODE is the density from integrating the "
        "probability-flow ODE, with the error of the solver. Bound means that the true NLL is at most this. Estimate "
        "comes from a method that is right only with unlimited samples. Numbers of different kinds are never ranked "
        "together.",
    ),
    (
        "Generalization gap",
        "the NLL of test points minus the NLL of training points. Good samples from a model with a large gap may be "
        "copies of training points.",
    ),
    ("NFE", "the number of network evaluations per sample, as the harness counts it, where it can be known."),
)


class Overview(trilemma.ReportSection):
    """The overview section: what was run, how its cells ended, and how to read the numbers."""

    name: ClassVar[str] = "overview"
    order: ClassVar[int] = 60

    def render(self, view: trilemma.RunView) -> trilemma.Section:
        """Render the overview, also for a run in which everything failed."""
        run = digest(view)
        facts = [(name, text) for name, text in _facts(run, view) if text]
        parts = [markdown.table(["", ""], [[f"**{name}**", markdown.escape(text)] for name, text in facts])]
        parts += ["### How to read", "\n".join(f"- **{word}**: {text}" for word, text in READING)]
        return trilemma.Section(
            title="What was run",
            html=html.render("overview.html.j2", facts=facts, reading=READING),
            markdown="\n\n".join(parts),
        )


def brief(run: Digest, view: trilemma.RunView) -> str:
    """What was run, in one line: seeds, budgets, machine and cells."""
    seeds = run.rows["seed"].nunique()
    found = machines(view, _unique(run.rows["device"]))
    parts = [
        "1 seed" if seeds == 1 else f"{seeds} seeds",
        ", ".join(_unique(run.rows["budget"])),
        "several machines" if len(found) > 1 else "".join(found),
        f"cells {cells(run.rows)}",
    ]
    return " · ".join(filter(None, parts))


def _facts(run: Digest, view: trilemma.RunView) -> list[tuple[str, str]]:
    rows = run.rows
    models = rows.loc[~rows["control"] & (rows["label"] != ""), "label"].unique()
    controls = rows.loc[rows["control"] & (rows["label"] != ""), "label"].unique()
    return [
        ("Suite", str(view.suite.get("description") or view.suite.get("name") or "")),
        ("Budget", ", ".join(_unique(rows["budget"]))),
        ("Seeds", ", ".join(str(seed) for seed in sorted(rows["seed"].unique()))),
        ("Datasets", ", ".join(run.datasets)),
        ("Models", ", ".join(models)),
        ("Controls", ", ".join(controls)),
        *_machines(run, view),
        ("Cells", cells(rows)),
        ("Evaluations", evaluations(rows)),
        ("Last command", selected(rows)),
        ("Superseded", superseded(run.superseded)),
    ]


def cells(rows: pd.DataFrame) -> str:
    """The numbers of cells of a uniform frame by outcome. A cell counts as failed only if it has no result at all."""
    bad = failed(rows)
    good = set(rows.loc[rows["outcome"] == "ok", "cell"])
    lost = bad[~bad["cell"].isin(good)].drop_duplicates("cell")
    return f"{rows['cell'].nunique()}: {', '.join([f'{len(good)} ok', *_counts(lost)])}"


def evaluations(rows: pd.DataFrame) -> str:
    """The failures in cells that also have results; "" if there are none."""
    bad = failed(rows)
    partial = bad[bad["cell"].isin(set(rows.loc[rows["outcome"] == "ok", "cell"])) & (bad["outcome"] != "unsupported")]
    return f"{', '.join(_counts(partial))}, in cells that have other results" if len(partial) else ""


def selected(rows: pd.DataFrame) -> str:
    """What the last run into the directory selected; "" if it selected everything."""
    chosen = rows[rows["selected"]]
    if len(chosen) == len(rows):
        return ""
    what = "; ".join(", ".join(_unique(chosen[column])) for column in ("label", "dataset_id", "budget"))
    return f"selected {what} (marked ▸ below); the other rows are from earlier commands"


def superseded(count: int) -> str:
    """The number of cells whose results are superseded and left out; "" if there are none."""
    if not count:
        return ""
    cells = "1 cell" if count == 1 else f"{count} cells"
    return (
        f"older results of {cells} are left out, because code, data or options have changed since; "
        "`trilemma results --superseded` shows them"
    )


def _counts(rows: pd.DataFrame) -> list[str]:
    return [f"{count} {outcome}" for outcome, count in rows["outcome"].value_counts().items()]


def machine(environment: dict[str, Any], devices: list[str]) -> str:
    """The machine in one line: devices, processor, GPUs, threads and the version of torch, as far as they are known."""
    cpu, gpu = _name(environment.get("cpu")), _name(environment.get("gpus"))
    threads = environment.get("threads")
    versions = environment.get("versions")
    torch = versions.get("torch") if isinstance(versions, dict) else None
    parts = [", ".join(devices), cpu, gpu]
    parts += (
        [f"{threads} thread{'' if str(threads) == '1' else 's'}"] if threads and not isinstance(threads, dict) else []
    )
    parts += [f"torch {torch}"] if torch else []
    return " · ".join(part for part in parts if part)


def machines(view: trilemma.RunView, devices: list[str]) -> list[str]:
    """The machines of all runs into the directory, each once, in words. Runs on one machine name it alike."""
    return list(dict.fromkeys(machine(each, devices) for each in (view.environments or [view.environment])))


def _machines(run: Digest, view: trilemma.RunView) -> list[tuple[str, str]]:
    """The machine of the run. With several machines, each has a line, and a sentence says what that means."""
    rows = run.rows
    found = machines(view, _unique(rows["device"]))
    if len(found) < 2:
        return [("Machine", "".join(found))]
    facts = [(f"Machine {number}", text) for number, text in enumerate(found, 1)]
    trained, times = (len(_unique(rows[column])) > 1 for column in ("trained_on", "machine"))
    if trained or times:
        what = "results of a budget in seconds" if trained else "times"
        facts.append(("Machines", f"{what} are ranked only with those of the same machine"))
    return facts


def _name(value: Any) -> str:
    if isinstance(value, dict):
        value = value.get("name") or value.get("model") or ""
    if isinstance(value, (list, tuple)):
        return ", ".join(filter(None, map(_name, value)))
    return str(value or "")


def _unique(values: pd.Series) -> list[str]:
    return [value for value in values.unique() if value]
