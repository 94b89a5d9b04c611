"""Restores a trained cell: its dataset, its model from the checkpoint, and the options of its likelihood."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from ..boundary import PluginExitError, boundary, described
from ..contracts.budget import Budget
from ..contracts.config import Config
from ..contracts.model import Model, Sampler
from ..contracts.recipe import Recipe
from ..errors import DataError, PluginError, StoreError, TrilemmaError
from ..evaluation.evaluation import Evaluation, TrainingRecord
from ..execution.stages import Prepared, hold_out, prepare, restore, train
from ..execution.stored import threads_of
from ..plugins import Registry
from ..store.store import Store
from .settings import validated

Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class Restored:
    """A trained model with its prepared dataset and everything that its evaluation in the run depended on."""

    model: Model
    prepared: Prepared
    training: TrainingRecord
    likelihood: Config
    budget: Budget
    seed: int
    threads: int
    device: torch.device
    progress: Progress

    @contextlib.contextmanager
    def evaluating(
        self, sampler: Sampler | None = None, part: tuple[float, float] = (0.0, 1.0)
    ) -> Iterator[Evaluation]:
        """The evaluation of the run, with the settings of torch in the process of a cell.

        `part` is the share of the work that was done before, and the share that is done with it. Raises PluginError for
        an error of the model.
        """
        before = torch.get_num_threads(), torch.get_deterministic_debug_mode()
        torch.set_num_threads(self.threads)
        torch.set_deterministic_debug_mode("warn")
        try:
            with blamed(f"model '{self.model.name}'"):
                yield Evaluation(
                    self.model,
                    self.prepared.dataset,
                    self.prepared.space,
                    self.prepared.info,
                    seed=self.seed,
                    device=self.device,
                    training=self.training,
                    sampler=sampler,
                    likelihood=self.likelihood,
                    truth=self.prepared.truth(self.model),
                    budget=self.budget,
                    progress=lambda fraction, message: self.progress(part[0] + part[1] * fraction, message),
                )
        finally:
            torch.set_num_threads(before[0])
            torch.set_deterministic_debug_mode(before[1])


@contextlib.contextmanager
def blamed(what: str) -> Iterator[None]:
    """Run code of a plugin. What it raises, besides errors of trilemma, becomes a PluginError that names `what`."""
    try:
        with boundary():
            yield
    except Exception as error:
        if isinstance(error, TrilemmaError) and not isinstance(error, PluginExitError):
            raise
        raise PluginError(f"{what} raised {described(error)}") from error


def restored(
    store: Store,
    cell: dict[str, Any],
    record: dict[str, Any],
    registry: Registry,
    device: torch.device,
    progress: Progress,
) -> Restored:
    """Restore a trained cell from its checkpoint. A model that keeps no state is trained again with the same steps.

    Raises DataError for other data than in training, StoreError for a damaged checkpoint, and PluginError.
    """
    data, spec = cell["dataset"], cell["model"]
    dataset_cls, model_cls = registry.get("datasets", data["name"]), registry.get("models", spec["name"])
    with blamed(f"dataset '{data['name']}'"):
        dataset = dataset_cls(validated(dataset_cls.Config, data["config"], f"dataset '{data['name']}'"))
        hold_out(dataset, data)
        if dataset.checksum != cell["data_sha256"]:
            raise DataError(f"the data of '{data['label']}' is not the data that {cell['label']} was trained on")
    with blamed(f"model '{spec['name']}'"):
        model: Model = model_cls(validated(model_cls.Config, spec["config"], f"model '{spec['name']}'"))
        prepared = prepare(model, dataset)
        budget = Budget.model_validate(cell["budget"])
        if record.get("checkpoint"):
            state = store.tensors("cells", cell["id"], "model")
            if state is None:
                raise StoreError(f"the checkpoint of {cell['label']} (cell {cell['id']} of {store.path}) is damaged")
            restore(model, prepared, state, device)
            training = TrainingRecord(**record["training"])
        else:
            progress(0.0, "this model keeps no state, so it is trained again")
            recipe = Recipe.model_validate(spec["recipe"]) if spec["recipe"] else Recipe()
            training = train(
                model,
                prepared,
                recipe=recipe,
                budget=budget,
                seed=cell["seed"],
                device=device,
                replay=record.get("trace"),
                progress=progress,
            ).training
    options = validated(model.Likelihood, spec.get("likelihood_options") or {}, f"the likelihood of '{model.name}'")
    threads = threads_of(store, cell)
    return Restored(model, prepared, training, options, budget, cell["seed"], threads, device, progress)
