"""What the checks of a model share: its data, its training as in a run, and the calls of its methods."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cached_property

import torch
from torch import Tensor

from ..contracts.budget import Budget
from ..contracts.config import Config
from ..contracts.dataset import Dataset
from ..contracts.model import Context, Model, Sampler
from ..contracts.recipe import Recipe
from ..evaluation.truth import seeded
from ..execution.stages import Prepared, Trained, prepare, train
from .distributions import SmallImages, ThreeGaussians
from .kit import Kit, needs, require
from .left_behind import LeftBehind
from .settings import FEW_POINTS, FEW_STEPS, shortened
from .watched import Short, Watched, datasets_made, optimizer_steps

STEPS = 60  # of training: enough for finite samples, not for good ones
SHORT = 6  # steps of trainings that only show how it is trained
VALIDATIONS = 3  # in a training, at most: they take longer than so few steps
MANY, MANY_IMAGES = 2000, 600  # samples: enough to see a distribution in two dimensions, and copies among images
FEW, FEW_IMAGES = 20, 6  # points whose densities are compared
_QUICKER = 4.0  # a sampler is used in the place of the first one if it is so many times as fast
CPU = torch.device("cpu")


class Subject(Kit):
    """Base class of the checks of a model."""

    def __init__(self, cls: type[Model], config: Config | None) -> None:
        super().__init__(cls, config or _small_options(cls))
        self.left = LeftBehind()
        self.learned: dict[str, Tensor] = {}
        """What the first training has learned, as it was at its end."""
        self._brief: dict[str, Sampler] = {}

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

    @property
    def images(self) -> bool:
        """Whether the data is images."""
        return bool(self.dataset.kind == "image")

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
        recipe: Recipe = getattr(self.cls, "recipe", Recipe())
        with self.watch("fit"):
            trained = train(
                model,
                watched,
                recipe=recipe.model_copy(update={"validations": min(VALIDATIONS, recipe.validations)}),
                budget=budget or Budget(steps=STEPS, seconds=None),
                seed=seed,
                device=device,
            )
        return model, trained, watched

    @cached_property
    def first(self) -> tuple[Model, Trained, Watched]:
        """The training that most checks share."""
        _ = self.short
        model, trained, watched = self.train()
        state = trained.state or {}
        self.learned = {key: value.detach().clone() for key, value in state.items() if isinstance(value, Tensor)}
        return model, trained, watched

    @cached_property
    def short(self) -> Short:
        """A training of few steps. It comes before all others, to see whether a later one differs from it."""
        _ = self.dataset  # which is made outside of the training
        with optimizer_steps() as taken, datasets_made() as made:
            model = self.train(budget=Budget(steps=SHORT, seconds=None))[0]
        return Short(model, len(taken), frozenset(made))

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

    def draw(self, model: Model, n: int = 16, seed: int = 1, sampler: Sampler | None = None) -> Tensor:
        """Samples drawn with a new generator."""
        with self.watch("sample"):
            return model.sample(n, self.context(seed, sampler)).detach()

    def brief(self, sampler: Sampler) -> Sampler:
        """The setting with fewer steps that a sampler is tested with, if the model can draw finite points with it."""
        key = f"{type(sampler)} {sampler!r}"
        if key not in self._brief:
            self._brief[key] = sampler
            brief = shortened(sampler, FEW_STEPS)
            with suppress(Exception):  # what is wrong with it is of no interest, because nobody has chosen it
                if brief != sampler and bool(torch.isfinite(self.draw(self.model, 4, sampler=brief)).all()):
                    self._brief[key] = brief
        return self._brief[key]

    @cached_property
    def quick(self) -> Sampler:
        """The sampler setting of the tests of distributions: that of the first sampler, or of a much faster one."""
        settings = [self.brief(cls()) for cls in self.cls.samplers]
        if len(settings) == 1:
            return settings[0]
        seconds = []
        for setting in settings:
            begun = time.process_time()
            self.draw(self.model, 4, sampler=setting)
            seconds.append(time.process_time() - begun)
        fastest = min(range(len(settings)), key=seconds.__getitem__)
        return settings[fastest if _QUICKER * seconds[fastest] < seconds[0] else 0]

    def drawn(self, model: Model, n: int = 16, seed: int = 1) -> Tensor:
        """Samples drawn with the setting `quick`."""
        return self.draw(model, n, seed, self.quick)

    @property
    def size(self) -> int:
        """The number of samples that are many."""
        return MANY_IMAGES if self.images else MANY

    @cached_property
    def many(self) -> Tensor:
        """The samples that the tests of a distribution share, drawn at once."""
        return self.drawn(self.model, self.size, seed=6)

    @cached_property
    def some(self) -> Tensor:
        """The points at which log-densities are compared."""
        return self.points("test")[: FEW_IMAGES if self.images else FEW]

    @cached_property
    def raw_densities(self) -> tuple[Tensor, Tensor]:
        """What log_prob returns for `some`, under two generators."""
        with self.watch("log_prob"):
            one, two = (self.model.log_prob(self.some, self.context(seed)).detach() for seed in (1, 2))
        return one, two

    @property
    def densities(self) -> Tensor:
        """The log-densities of `some` under the first generator."""
        return self.raw_densities[0].double()

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


_AT_A_TIME = 10_000


def _small_options(cls: type[Model]) -> Config | None:
    """The options with which a model is checked; None if it has no defaults, which the checks report."""
    try:
        return shortened(cls.Config(), FEW_POINTS)
    except ValueError:
        return None


def changed(dataset: Dataset, **splits: Tensor) -> Dataset:
    """A copy of a dataset with other splits."""
    copy = type(dataset)(dataset.config)
    copy.__dict__["splits"] = replace(dataset.splits, **splits)
    return copy
