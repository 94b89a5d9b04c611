"""The work inside the process of one cell: load the dataset, train, store the checkpoint, evaluate."""

from __future__ import annotations

import contextlib
import json
import os
import random
import time
import traceback
from pathlib import Path
from typing import Any

import torch

from ..contracts.budget import Budget
from ..contracts.dataset import Dataset
from ..contracts.metric import Metric
from ..contracts.model import Model
from ..contracts.recipe import Recipe
from ..errors import DataError
from ..evaluation.evaluation import Evaluation, TrainingRecord
from ..planning.cell import label_of
from ..plugins import Registry
from ..store.store import Store
from .endings import ending_of, message_of
from .environment import environment
from .events import Events
from .gathered import Gathered
from .guard import DataGuard
from .resume import PartialTraining, discard, identity, partial_file
from .stages import hold_out, prepare, restore, train

STORED_SAMPLES = 1_000  # per evaluation: enough for the figures of the report and for a closer look


def work(job_file: str, worker: type[CellWorker] | None = None) -> int:
    """Do a job, with a subclass of CellWorker if one is given.

    The exit code is 0 if its outcome was recorded, also if it failed.
    """
    worker = worker or CellWorker
    job = json.loads(Path(job_file).read_text(encoding="utf-8"))
    torch.set_num_threads(job["threads"])
    # `torch.use_deterministic_algorithms` would load torch's compiler, which takes a second, to tell it the same.
    os.environ["TORCHINDUCTOR_DETERMINISTIC"] = "1"
    torch.set_deterministic_debug_mode("warn")
    registry = Registry(job["plugins"])
    events = Events(Path(job["events"]))
    if job["kind"] == "data":
        describe_data(job, registry, events)
    elif job["kind"] == "timing":
        worker(job, registry, events).time()
    else:
        worker(job, registry, events).run()
    return 0


def describe_data(job: dict[str, Any], registry: Registry, events: Events) -> None:
    """Load a dataset, and store its card and its first test points."""
    events.phase("dataset")
    try:
        dataset = make_dataset(job, registry)
        record: dict[str, Any] = {"card": dataset.card().model_dump(mode="json")}
        tensors = {"test": {"test": dataset.splits.test[:STORED_SAMPLES]}}
    except BaseException as error:  # nothing that a plugin raises ends the process without a record
        traceback.print_exc()
        record, tensors = {"error": message_of(error)}, {}
    Store(job["store"]).commit("data", job["id"], record, tensors)


def make_dataset(job: dict[str, Any], registry: Registry) -> Dataset:
    """The dataset that a job names. For tuning, the validation split takes the place of the test split."""
    cls = registry.get("datasets", job["dataset"]["name"])
    dataset: Dataset = cls(cls.Config.model_validate(job["dataset"]["config"]))
    hold_out(dataset, job["dataset"])
    return dataset


class CellWorker:
    """Runs one cell: it trains the model or restores it from the store, then runs the evaluations of the job."""

    def __init__(self, job: dict[str, Any], registry: Registry, events: Events) -> None:
        self.job, self.registry, self.events = job, registry, events
        self.store = Store(job["store"])
        self.device = torch.device(job["device"])
        self.started = time.monotonic()

    def run(self) -> None:
        """Train and evaluate. Every outcome is recorded in the store."""
        phase = "dataset"
        try:
            self.events.phase(phase)
            self._load()
            model = self._model()
            self.prepared = prepare(model, self.dataset)
            phase = "fit"
            self.events.phase(phase)
            training = self._train(model) if self.job["train"] else self._restore(model)[0]
        except BaseException as error:  # also SystemExit: no Ctrl-C reaches this process, so it is the plugin's
            self._failed(error)
            distribution = (self.job["model"]["provenance"] or {}).get("distribution", "")
            self._commit_cell(ending_of(error, phase, self.started, distribution), {}, None)
            return
        for planned in self.job["evaluations"]:
            self._evaluate(model, training, planned)

    def time(self) -> None:
        """Measure times at the sampler settings of the job. The results go to the supervisor, which puts them together.

        The order of the settings is random. A model without a checkpoint is trained again, and all its rounds are
        measured at once.
        """
        order = random.Random(self.job["order"])
        try:
            self.events.phase("dataset")
            self._load()
            model = self._model()
            self.prepared = prepare(model, self.dataset)
            self.events.phase("restore")
            training, again = self._restore(model, commit=False)
            evaluations = {item["id"]: self._evaluation(model, training, item) for item in self.job["evaluations"]}
        except BaseException as error:
            traceback.print_exc()
            self.events.emit(failed=ending_of(error, "timing", self.started), keep=True)
            return
        started = time.monotonic()
        for number in range(self.job["rounds"]):
            if number and time.monotonic() - started > self.job["seconds"]:
                return
            for planned in order.sample(self.job["evaluations"], len(evaluations)):
                self._visit(evaluations[planned["id"]], planned, again)

    def _failed(self, error: BaseException) -> None:
        """Called with an error that ends the training or a metric, while it is handled."""
        traceback.print_exc()

    def _load(self) -> None:
        self.dataset = make_dataset(self.job, self.registry)
        if self.dataset.checksum != self.job["data_sha256"]:
            raise DataError("the data is not the data that this run was planned with; run the command again")
        self.guard = DataGuard(self.dataset, lambda: make_dataset(self.job, self.registry))

    # Training

    def _model(self) -> Model:
        spec = self.job["model"]
        cls = self.registry.get("models", spec["name"])
        model: Model = cls(cls.Config.model_validate(spec["config"]))
        return model

    def _train(self, model: Model, commit: bool = True) -> TrainingRecord:
        recipe, partial = self.job["model"]["recipe"], self._partial() if commit else None
        trained = train(
            model,
            self.prepared,
            recipe=Recipe.model_validate(recipe) if recipe else Recipe(),
            budget=Budget.model_validate(self.job["budget"]),
            seed=self.job["seed"],
            device=self.device,
            replay=self.job.get("replay"),
            checkpoints=partial,
            progress=self.events.progress,
        )
        if not commit:
            return trained.training
        record = {
            "outcome": "ok",
            "phase": "fit",
            "elapsed": time.monotonic() - self.started,
            "message": "",
            "training": trained.training.__dict__,
            "trace": trained.trace,
            "checkpoint": trained.state is not None,
            "details": trained.details,
            "resumed": partial.resumed if partial is not None else [],
        }
        self._commit_cell(record, trained.curves, trained.state)
        return trained.training

    def _partial(self) -> PartialTraining | None:
        """Where this training is stored while it runs; None if the suite wants no checkpoints."""
        seconds = self.job.get("checkpoint_seconds", 0)
        file = partial_file(self.store, self.job["id"])
        return PartialTraining(file, identity(self.job), seconds, self.events.note) if seconds else None

    def _restore(self, model: Model, commit: bool = True) -> tuple[TrainingRecord, bool]:
        """Restore the model from its checkpoint. Without one, or with a damaged one, train again, with the same steps.

        Returns the record of the training, and whether the model was trained again.
        """
        record = self.store.record("cells", self.job["id"])
        state = self.store.tensors("cells", self.job["id"], "model")
        if record is None or state is None:
            if record is None or record.get("checkpoint"):
                print("the checkpoint is missing or damaged; training again")  # into the log of the cell
            return self._train(model, commit), True
        restore(model, self.prepared, state, self.device)
        return TrainingRecord(**record["training"]), False

    def _commit_cell(self, ending: dict[str, Any], curves: dict[str, Any], state: dict[str, Any] | None) -> None:
        about = environment(self.job["threads"], self.job["device"])
        record = {**ending, "cell": self.job["cell"], "environment": about}
        tensors = {} if state is None else {"model": state}
        self.store.commit("cells", self.job["id"], {**record, "curves": curves}, tensors)
        discard(self.store, self.job["id"])
        self.events.emit(committed="cell", outcome=ending["outcome"], keep=True)

    # Evaluation

    def _evaluate(self, model: Model, training: TrainingRecord, planned: dict[str, Any]) -> None:
        sampler_spec = planned["sampler"]
        phase = f"evaluate {label_of(planned)}"
        self.events.emit(phase=phase, evaluation=planned["id"])
        nfe, batch, tensors = None, 0, {}
        try:
            evaluation = self._evaluation(model, training, planned)
        except BaseException as error:  # of the options of a plugin
            traceback.print_exc()
            record = {**ending_of(error, phase, time.monotonic()), "results": [], "not_computed": []}
        else:
            record = self._results(evaluation, planned, phase)
            if sampler_spec:
                with contextlib.suppress(BaseException):  # the error of a failing sampler is recorded with its metrics
                    tensors = {"samples": {"samples": evaluation.drawn(STORED_SAMPLES)}}
                    batch = evaluation.batch
                    nfe = evaluation.nfe
        record |= {"cell": self.job["id"], "sampler": sampler_spec, "nfe": nfe, "batch": batch}
        self.store.commit("evaluations", planned["id"], record, tensors)
        self.events.emit(committed="evaluation", id=planned["id"], outcome=record["outcome"], keep=True)

    def _visit(self, evaluation: Evaluation, planned: dict[str, Any], again: bool) -> None:
        phase = f"timing {planned['sampler']['label']}"
        self.events.emit(phase=phase, evaluation=planned["id"], keep=True)
        begun = time.time()
        record = self._results(evaluation, planned, phase)
        about = {"trained_again": True} if again else {}
        for result in record["results"]:
            result["details"] |= about
        self.events.emit(timed=planned["id"], visit={**record, "begun": begun}, keep=True)

    def _evaluation(self, model: Model, training: TrainingRecord, planned: dict[str, Any]) -> Evaluation:
        sampler, sampler_spec = None, planned["sampler"]
        if sampler_spec:
            cls = next(cls for cls in model.samplers if cls.name == sampler_spec["name"])
            sampler = cls.model_validate(sampler_spec["config"])
        return Evaluation(
            model,
            self.dataset,
            self.prepared.space,
            self.prepared.info,
            seed=self.job["seed"],
            device=self.device,
            training=training,
            sampler=sampler,
            likelihood=model.Likelihood.model_validate(
                (planned.get("likelihood") or {}).get("config", self.job["model"]["likelihood_options"])
            ),
            truth=self.prepared.truth(model),
            budget=Budget.model_validate(self.job["budget"]),
            progress=self.events.progress,
        )

    def _results(self, evaluation: Evaluation, planned: dict[str, Any], phase: str) -> dict[str, Any]:
        """Compute the metrics of a planned evaluation. Returns its record."""
        started = time.monotonic()
        standardized = self.prepared.space.standardized
        gathered = Gathered(self.registry.classes("metrics"), standardized=standardized)
        endings: list[dict[str, Any]] = []
        for number, choice in enumerate(planned["metrics"]):
            self.events.progress(number / len(planned["metrics"]), choice["name"])
            try:
                metric_cls = self.registry.get("metrics", choice["name"])
                metric: Metric = metric_cls(metric_cls.Config.model_validate(choice["config"]))
                with self.guard.watch(choice["name"]):
                    found = metric.compute(evaluation)
                gathered.add(found, metric, number)
            except BaseException as error:
                ending = ending_of(error, phase, started)
                if ending["outcome"] != "unsupported":
                    self._failed(error)
                endings.append({"metric": choice["name"], **ending})
        failed = [ending for ending in endings if ending["outcome"] != "unsupported"]
        worst = failed[0] if failed else {"outcome": "ok", "phase": phase, "message": ""}
        return {
            **{key: worst[key] for key in ("outcome", "phase", "message")},
            "elapsed": time.monotonic() - started,
            "results": gathered.records,
            "not_computed": endings,
        }
