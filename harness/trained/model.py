"""A trained model of a run, which draws samples and gives log-densities in data space."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from ..contracts.model import Model, no_progress
from ..errors import TrilemmaError
from ..execution.environment import cell_environment
from ..execution.stored import changed_stages, plugins_of, refuse_elsewhere
from ..plugins import Registry
from ..store.store import Store
from .find import find_trained, trained_record
from .points import points_of
from .restored import Progress, Restored, restored
from .settings import Request, Setting, chosen_setting, settings_of

BATCH = 5_000
"""Samples that are drawn together at a sampler setting that the run has not evaluated."""
FURTHER = 2**32
"""Between the numbers of the draws of two independent sets of samples."""


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """A trained model of a run. `load_model` makes it.

    All arrays are in data space: vectors in their own units, float64, and images as intensity levels, uint8. The random
    numbers are those of the evaluation in the run, so on a machine of the same kind all bits of the results are the
    same.
    """

    cell: str
    """The id of the training in its run."""
    label: str
    """The label of the training, such as `realnvp on ring8, seed 0`."""
    seed: int
    """The training seed."""
    shape: tuple[int, ...]
    """The shape of one point."""
    levels: int | None
    """The number of intensity levels of an image; None for continuous data."""
    settings: dict[str, Setting]
    """The sampler settings that the run has evaluated, by label."""
    notes: tuple[str, ...]
    """What a user should know, such as that the installed code is not the code that trained the model."""
    _restored: Restored = field(repr=False)

    @property
    def model(self) -> Model:
        """The model in model space."""
        return self._restored.model

    @property
    def coordinates(self) -> tuple[str, ...]:
        """The names of the coordinates, such as the columns of a table; empty if they have none."""
        return self._restored.prepared.dataset.coordinates()

    @property
    def likelihood(self) -> str:
        """The kind of the log-density: `exact`, `ode`, `map`, `bound`, `estimate` or `none`."""
        return self.model.likelihood_kind(self._restored.likelihood)

    @property
    def samplers(self) -> list[str]:
        """The labels of the sampler settings that the run has evaluated."""
        return list(self.settings)

    def setting(self, sampler: Request = None) -> Setting:
        """The sampler setting that is asked for; see `sample`. Raises TrilemmaError with a suggestion."""
        return chosen_setting(sampler, self.settings, self.model)

    def sample(self, n: int, *, sampler: Request = None, draw: int = 0) -> NDArray[Any]:
        """Draw `n` samples, shape `(n, *shape)`.

        Args:
            n: number of samples.
            sampler: a sampler setting: the label of one of the run (see `samplers`), the name of a sampler, or a
                mapping such as `{"name": "heun", "steps": 18}`. By default it is the first one of the run.
            draw: 0 gives the samples that the run was evaluated with, if it has evaluated the sampler setting. They
                depend on how many are drawn together, so as many as in the evaluation are drawn, also for a smaller
                `n`. Each other number gives an independent set of samples.

        Raises:
            TrilemmaError: there is no such sampler, an option is wrong, or a sample is not finite.
            PluginError: the code of the model raised another error.
        """
        return np.concatenate(list(self.batches(n, sampler=sampler, draw=draw)))

    def batches(self, n: int, *, sampler: Request = None, draw: int = 0) -> Iterator[NDArray[Any]]:
        """The samples of `sample` in parts of a few thousand, so that millions of samples need little memory."""
        if n < 1 or draw < 0:
            raise TrilemmaError(
                f"{n} samples of draw {draw} cannot be drawn: n must be at least 1, and draw at least 0"
            )
        return self._batches(n, self.setting(sampler), draw)

    def _batches(self, n: int, setting: Setting, draw: int) -> Iterator[NDArray[Any]]:
        done = number = 0
        while done < n:
            size = min(n - done, setting.batch or BATCH)
            self._restored.progress(done / n, "")
            with self._restored.evaluating(setting.sampler, (done / n, size / n)) as evaluation:
                together = max(size, setting.batch) if draw == number == 0 else size
                x: NDArray[Any] = evaluation.fresh(together, draw * FURTHER + number)[:size].numpy()
            yield x
            done, number = done + size, number + 1

    def log_prob(self, x: ArrayLike) -> NDArray[np.float64]:
        """Log-density at the points `x`, shape `(n, *shape)` or `(n, d)`, in nats, shape `(n,)`.

        The kind of the number is `likelihood`, and kinds must not be compared with each other. For images, `x` holds
        intensity levels, and the values are bounds on the log-probability of the levels.

        Raises:
            DataError: the points do not have the shape of the data, are not finite, or are no intensity levels.
            UnsupportedError: the model has no likelihood.
            DivergedError: a value is NaN or +inf.
            PluginError: the code of the model raised another error.
        """
        points = torch.from_numpy(points_of(x, self.shape, self.levels))
        with self._restored.evaluating() as evaluation:
            return np.array(evaluation.log_prob_of(points))


def load_model(
    run: str | Path,
    model: str | None = None,
    *,
    dataset: str | None = None,
    seed: int | None = None,
    plugins: Iterable[str | Path] | None = None,
) -> TrainedModel:
    """Load a trained model of a run directory, to draw samples and to compute log-densities.

    Args:
        run: the run directory.
        model: label or name of the model, label of a cell, or the start of its id. It may be left out if the run has
            one model.
        dataset: label or name of the dataset. It may be left out if the model was trained on one dataset.
        seed: the training seed, by default the lowest.
        plugins: files of unpackaged plugins; by default those of the run.

    Returns:
        The model. A warning says if the installed code is not the code that trained it.

    Raises:
        TrilemmaError: there is no such model in the run, or it did not end well.
        StoreError: there is no run directory, or the checkpoint is damaged.
        DataError: the dataset is not the data that the model was trained on, or its files are missing.
        PluginError: a plugin of the run is missing or broken.

    Example:
        >>> import trilemma
        >>> model = trilemma.load_model("runs/quick", "realnvp", dataset="ring8")  # doctest: +SKIP
        >>> model.log_prob(model.sample(1000))  # doctest: +SKIP
    """
    loaded = open_model(run, model, dataset=dataset, seed=seed, plugins=plugins)
    for note in loaded.notes:
        warnings.warn(note, stacklevel=2)
    return loaded


def open_model(
    run: str | Path,
    wanted: str | None,
    *,
    dataset: str | None,
    seed: int | None,
    plugins: Iterable[str | Path] | None,
    progress: Progress = no_progress,
) -> TrainedModel:
    """The model of `load_model`, whose warnings are its `notes`."""
    store = Store(run)
    cell, notes = find_trained(store, wanted, dataset=dataset, seed=seed)
    record = trained_record(store, cell)
    refuse_elsewhere(cell)
    registry = Registry(plugins_of(store.run()["runs"][cell["run"]], cell) if plugins is None else plugins)
    device = torch.device(cell["device"].partition(":")[0])
    if device.type == "cuda" and not torch.cuda.is_available():
        device = torch.device("cpu")
        notes.append(f"{cell['label']} was trained on a GPU; on this CPU the samples differ from those of the run")
    if device.type == "cuda":  # as in the process of a cell, before the first use of the GPU
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", cell_environment(1)["CUBLAS_WORKSPACE_CONFIG"])
    inside = restored(store, cell, record, registry, device, progress)
    if changed := changed_stages(cell, registry):
        what = ", ".join(changed)
        notes.append(f"{cell['label']} was made by other code than the code installed now ({what}); numbers may differ")
    data = inside.prepared.dataset
    settings = settings_of(store, cell, inside.model)
    which = cell["id"], cell["label"], cell["seed"]
    return TrainedModel(*which, data.shape, data.levels, settings, tuple(notes), inside)
