"""What the checks of a model share: its data, its training as in a run, and the calls of its methods."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

from ..contracts.budget import Budget
from ..contracts.config import Config
from ..contracts.dataset import Dataset
from ..contracts.model import Context, Model, Sampler, Split
from ..contracts.recipe import Recipe
from ..evaluation.truth import seeded
from ..execution.stages import Prepared, Trained, prepare, train
from .distributions import SmallImages, ThreeGaussians
from .kit import Kit, needs, require
from .left_behind import LeftBehind

STEPS = 60  # of training: enough for finite samples, not for good ones
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Watched(Prepared):
    """A prepared dataset that keeps the splits that a model gets, to see whether the model writes into them."""

    given: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def split(self, name: str) -> Split:
        made = super().split(name)
        self.given[name] = made.x, made.x.clone()
        return made

    def changed(self) -> list[str]:
        """The names of the splits that were changed."""
        return [name for name, (x, before) in self.given.items() if not torch.equal(x, before)]


class Subject(Kit):
    """Base class of the checks of a model."""

    def __init__(self, cls: type[Model], config: Config | None) -> None:
        super().__init__(cls, config)
        self.left = LeftBehind()

    def options(self) -> Iterator[tuple[str, type[Config]]]:
        yield from super().options()
        yield "Likelihood", self.cls.Likelihood
        for sampler in self.cls.samplers:
            yield f"sampler '{sampler.name}'", sampler

    # The data

    @cached_property
    def dataset(self) -> Dataset:
        """Points in the plane, or small images for models that accept only images."""
        if "vector" not in self.cls.accepts:
            return SmallImages()
        return ThreeGaussians(ThreeGaussians.Config(n_test=2000))

    @cached_property
    def prepared(self) -> Prepared:
        """The dataset as a run prepares it for the model."""
        return prepare(self.cls(self.config), self.dataset)

    def points(self, name: str) -> Tensor:
        """A split in model space."""
        if name in ("train", "valid"):
            return self.prepared.split(name).x
        space = self.prepared.space
        return space.to_model(space.dequantize(self.dataset.splits.test, seeded(CPU, 41))[0])[0].float()

    # Training

    def train(
        self,
        seed: int = 0,
        budget: Budget | None = None,
        dataset: Dataset | None = None,
        device: torch.device = CPU,
    ) -> tuple[Model, Trained, Watched]:
        """Train a new model as a run does. Returns it with the records of its training and its data."""
        model: Model = self.cls(self.config)
        prepared = prepare(model, dataset or self.dataset)
        watched = Watched(prepared.dataset, prepared.space, prepared.info)
        with self.watch("fit"):
            trained = train(
                model,
                watched,
                recipe=getattr(self.cls, "recipe", Recipe()),
                budget=budget or Budget(steps=STEPS, seconds=None),
                seed=seed,
                device=device,
            )
        return model, trained, watched

    @cached_property
    def first(self) -> tuple[Model, Trained, Watched]:
        """The training that most checks share."""
        return self.train()

    @property
    def model(self) -> Model:
        """The trained model that most checks share."""
        return self.first[0]

    # Calls

    @contextmanager
    def watch(self, what: str) -> Iterator[None]:
        """Keep the global state of the process, and note what a method has left changed in it."""
        with self.left.watching(what):
            yield

    def context(
        self,
        seed: int = 1,
        sampler: Sampler | None = None,
        prepared: Prepared | None = None,
        device: torch.device = CPU,
    ) -> Context:
        """A context with a new generator."""
        prepared = prepared or self.prepared
        return Context(
            info=prepared.info,
            device=device,
            generator=torch.Generator(device).manual_seed(seed),
            sampler=sampler or self.cls.samplers[0](),
            likelihood=self.cls.Likelihood(),
            truth=prepared.truth(self.cls(self.config)),
        )

    def draw(self, model: Model, n: int = 64, seed: int = 1, sampler: Sampler | None = None) -> Tensor:
        """Samples drawn with a new generator."""
        with self.watch("sample"):
            return model.sample(n, self.context(seed, sampler)).detach()

    @cached_property
    def many(self) -> Tensor:
        """The samples that the tests of a distribution share, drawn at once."""
        return self.draw(self.model, MANY, seed=6)

    def log_prob(self, x: Tensor, model: Model | None = None, seed: int = 1) -> Tensor:
        """Log-densities under a new generator, without gradients unless the model asks for them, float64."""
        with self.watch("log_prob"):
            found = [
                (model or self.model).log_prob(part, self.context(seed)).detach() for part in torch.split(x, _AT_A_TIME)
            ]
        return torch.cat(found).double()

    # Checks

    def check_fit(self) -> str:
        """The model trains for a few steps, with global generators seeded as in a run."""
        require(isinstance(self.model, Model), "the plugin is not a trilemma.Model")
        return f"{STEPS} steps on '{self.dataset.name}'"

    @needs("fit")
    def check_training_data(self) -> str:
        """`fit` leaves the points that it gets as they are."""
        changed = self.first[2].changed()
        require(
            not changed,
            f"fit writes into the points of {' and '.join(f'`{name}`' for name in changed)}; work on a copy, such as "
            "x = train.x.clone(), because other models get the same points",
        )
        return "unchanged"


MANY = 2000  # samples: enough to see a distribution in two dimensions
_AT_A_TIME = 10_000


def changed(dataset: Dataset, **splits: Tensor) -> Dataset:
    """A copy of a dataset with other splits."""
    copy = type(dataset)(dataset.config)
    copy.__dict__["splits"] = replace(dataset.splits, **splits)
    return copy
