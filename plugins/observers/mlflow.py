"""The observer for MLflow: a run for each cell."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from .cells import CellObserver, Reported, require, setting

_UNFIT = re.compile(r"[^\w\-./ ]")


class Mlflow(CellObserver):
    """Logs each cell as a run of MLflow, in the experiment that is named after the run directory.

    MLFLOW_TRACKING_URI says where; by default it is the folder `mlruns` of the run directory. A cell that has a run
    already is logged into it again.
    """

    name = "mlflow"

    def __init__(self) -> None:
        require("mlflow", "mlflow")
        super().__init__()

    def report(self, path: Path, cells: Iterator[Reported]) -> list[Path]:
        """Log the cells."""
        setting("MLFLOW_DISABLE_TELEMETRY", "true")
        setting("MLFLOW_ALLOW_FILE_STORE", "true")
        place = os.environ.get("MLFLOW_TRACKING_URI") or (path.resolve() / "mlruns").as_uri()
        from mlflow.entities import Metric, Param, RunTag
        from mlflow.tracking import MlflowClient

        client = MlflowClient(place)
        experiment = client.get_experiment_by_name(path.resolve().name)
        home = experiment.experiment_id if experiment else client.create_experiment(path.resolve().name)
        for cell in cells:
            known = client.search_runs([home], f"tags.`trilemma.cell` = '{cell.id}'")
            run = known[0].info.run_id if known else client.create_run(home, run_name=cell.label).info.run_id
            now = client.get_run(run).info.start_time
            numbers = [Metric(_fit(name), value, now, 0) for name, value in cell.numbers.items()]
            curves = [
                Metric(f"curves/{_fit(name)}", value, now, step)
                for name, points in cell.curves.items()
                for step, value in points
            ]
            params = [Param(_fit(name), value[:500]) for name, value in cell.parameters.items()] if not known else []
            tags = [RunTag("trilemma.cell", cell.id), RunTag("trilemma.outcome", cell.outcome)]
            for start in range(0, max(1, len(curves)), 500):
                client.log_batch(run, metrics=curves[start : start + 500])
            client.log_batch(run, metrics=numbers, params=params, tags=tags)
            client.set_terminated(run, "FINISHED" if cell.outcome == "ok" else "FAILED")
        return []


def _fit(name: str) -> str:
    """A name that MLflow accepts: letters, digits, `_`, `-`, `.`, `/` and blanks."""
    return _UNFIT.sub("_", name)[:250].strip(" /.") or "_"
