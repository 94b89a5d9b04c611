"""The checks of a model: it is trained for a few steps on a small dataset, and then every method is tested."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property

import torch
from torch import Tensor

from ..contracts.budget import Budget, Clock
from ..contracts.config import Config
from ..contracts.dataset import Dataset
from ..contracts.model import Context, DataInfo, Direct, Model, Sampler, Split
from ..contracts.recipe import Recipe
from ..errors import UnsupportedError
from ..evaluation.spaces import Space
from ..evaluation.truth import DatasetTruth
from ..training.neural import NeuralModel
from .distributions import SmallImages, ThreeGaussians
from .kit import Kit, no_global_randomness, require

STEPS = 60  # of training: enough for finite samples, not for good ones
_HALF_SIDE, _PER_SIDE, _AT_A_TIME = 8.0, 400, 10_000  # of the grid that a density is integrated over
_CPU = torch.device("cpu")


class ModelKit(Kit):
    """The checks of `trilemma check MODEL`."""

    def options(self) -> Iterator[tuple[str, type[Config]]]:
        yield from super().options()
        yield "Likelihood", self.cls.Likelihood
        for sampler in self.cls.samplers:
            yield f"sampler '{sampler.name}'", sampler

    @cached_property
    def dataset(self) -> Dataset:
        """Points in the plane, or small images for models that accept only images."""
        return ThreeGaussians() if "vector" in self.cls.accepts else SmallImages()

    @cached_property
    def space(self) -> Space:
        """The model space of the dataset."""
        return Space.fit(self.dataset, flatten=False, image_space=self.cls.image_space)

    @cached_property
    def info(self) -> DataInfo:
        """The description of the data that the model gets."""
        splits, dataset = self.dataset.splits, self.dataset
        return DataInfo(
            *(dataset.name, dataset.kind, dataset.shape, len(splits.train), dataset.levels, self.space.support),
            to_model=lambda x: self.space.to_model(x)[0],
        )

    @cached_property
    def needs_truth(self) -> bool:
        """Whether the model gets the true distribution, which may depend on its options."""
        return bool(self.cls(self.config).needs_truth)

    def context(self, seed: int, sampler: Sampler | None = None) -> Context:
        """A context with a new generator."""
        return Context(
            info=self.info,
            device=_CPU,
            generator=torch.Generator().manual_seed(seed),
            sampler=sampler or self.cls.samplers[0](),
            likelihood=self.cls.Likelihood(),
            truth=DatasetTruth(self.dataset, self.space) if self.needs_truth else None,
        )

    def points(self, name: str) -> Tensor:
        """A split in model space."""
        points = self.space.dequantize(getattr(self.dataset.splits, name), torch.Generator().manual_seed(0))[0]
        return self.space.to_model(points)[0].float()

    def fitted(self, seed: int = 0) -> Model:
        """A newly trained model."""
        model: Model = self.cls(self.config)
        context = self.context(seed)
        context.recipe = getattr(self.cls, "recipe", Recipe())
        context.valid = Split(self.points("valid"))
        context.clock = Clock(Budget(steps=STEPS, seconds=None))
        with no_global_randomness("fit"):
            model.fit(Split(self.points("train")), context)
        return model

    @cached_property
    def model(self) -> Model:
        """The trained model that most checks share."""
        return self.fitted()

    def draw(self, model: Model, n: int = 64, seed: int = 1, sampler: Sampler | None = None) -> Tensor:
        """Samples drawn with a new generator."""
        return model.sample(n, self.context(seed, sampler)).detach()

    def check_fit(self) -> str:
        """The model trains for a few steps, with random numbers from the given generator alone."""
        require(isinstance(self.model, Model), "the plugin is not a trilemma.Model")
        return f"{STEPS} steps on '{self.dataset.name}'"

    def check_fit_deterministic(self) -> str:
        """Training again with the same seed gives the same samples."""
        require(torch.equal(self.draw(self.model), self.draw(self.fitted())), "the samples of two equal fits differ")
        return "equal samples"

    def check_samplers(self) -> str:
        """Every sampler draws finite points of the right shape and type, as does every entry of `always_samplers`."""
        for sampler in (*(cls() for cls in self.cls.samplers), *self.cls.always_samplers):
            require(type(sampler) in self.cls.samplers, f"'{sampler.name}' in always_samplers is not in samplers")
            for n in (1, 7):
                x = self.draw(self.model, n, sampler=sampler)
                label = f"sample({n}) by sampler '{sampler.name}'"
                require(
                    tuple(x.shape) == (n, *self.info.shape),
                    f"{label} has shape {tuple(x.shape)}, expected {(n, *self.info.shape)}",
                )
                require(x.dtype.is_floating_point, f"{label} is {x.dtype}, not a floating type")
                require(bool(torch.isfinite(x).all()), f"{label} is not finite")
            self._check_chain(sampler)
        return ", ".join(cls.name for cls in self.cls.samplers)

    def _check_chain(self, sampler: Sampler) -> None:
        """A sampler that says so shows its chain from step 0 on, and no other does."""
        steps: list[int] = []
        context = self.context(1, sampler)
        context.show = lambda step, x: steps.append(step)
        self.model.sample(3, context)
        said = f"sampler '{sampler.name}' has shows_chain = {sampler.shows_chain}"
        require(bool(steps) == sampler.shows_chain, f"{said}, but calls ctx.show {len(steps)} times")
        require(steps == sorted(set(steps)) and steps[:1] in ([], [0]), f"{said}, but its steps do not rise from 0")

    def check_sample_deterministic(self) -> str:
        """The samples depend on the given generator, and not on a global one."""
        for cls in self.cls.samplers:
            sampler = None if cls is Direct else cls()
            with no_global_randomness("sample"):
                x, again, other = (self.draw(self.model, seed=seed, sampler=sampler) for seed in (1, 1, 2))
            require(torch.equal(x, again), f"sampler '{cls.name}' differs between two generators of the same seed")
            require(not torch.equal(x, other), f"sampler '{cls.name}' ignores the generator")
        return "equal with equal generators"

    def check_state(self) -> str:
        """A new model that loads the state gives the same samples and densities."""
        state = self.model.state()
        if state is None:
            raise UnsupportedError("the model has no state, so each new evaluation trains it again")
        for key, value in state.items():
            require(isinstance(value, Tensor), f"state['{key}'] is {type(value).__name__}, not a tensor")
        copy: Model = self.cls(self.config)
        with torch.random.fork_rng(devices=[]):
            copy.prepare(self.info)
        copy.load_state({key: value.detach().clone() for key, value in state.items()})
        if isinstance(copy, NeuralModel):
            copy.eval()
        require(torch.equal(self.draw(self.model), self.draw(copy)), "its samples differ after load_state")
        if self.cls.likelihood != "none":
            one, two = (model.log_prob(self.points("test")[:20], self.context(1)) for model in (self.model, copy))
            require(torch.equal(one, two), "its log-densities differ after load_state")
        return f"{len(state)} tensors"

    def check_log_prob(self) -> str:
        """log_prob gives one number per point, neither NaN nor +inf, or UnsupportedError without a likelihood."""
        x = self.points("test")[:20]
        if self.cls.likelihood == "none":
            try:
                self.model.log_prob(x, self.context(1))
            except UnsupportedError:
                return "no likelihood, and log_prob raises UnsupportedError"
            raise AssertionError("likelihood is 'none', but log_prob returns a value")
        with no_global_randomness("log_prob"):
            values, again = (self.model.log_prob(x, self.context(1)).detach() for _ in range(2))
        require(tuple(values.shape) == (20,), f"log_prob has shape {tuple(values.shape)}, expected (20,)")
        require(values.dtype.is_floating_point, f"log_prob is {values.dtype}, not a floating type")
        require(not bool(values.isnan().any() | (values == torch.inf).any()), "log_prob of data is NaN or +inf")
        require(torch.equal(values, again), "log_prob differs between two generators of the same seed")
        return str(self.cls.likelihood)

    def check_mass(self) -> str:
        """An exact density integrates to 1 within 0.02, over a grid in two dimensions."""
        if self.cls.likelihood != "exact" or self.info.shape != (2,):
            raise UnsupportedError("the density is not exact, or not in two dimensions")
        step = 2 * _HALF_SIDE / _PER_SIDE
        axis = -_HALF_SIDE + step * (torch.arange(_PER_SIDE) + 0.5)
        grid = torch.cartesian_prod(axis, axis)
        with torch.no_grad():
            parts = [
                self.model.log_prob(part, self.context(1)).double().exp() for part in torch.split(grid, _AT_A_TIME)
            ]
        mass = float(torch.cat(parts).sum()) * step**2
        require(math.isfinite(mass) and abs(mass - 1) <= 0.02, f"the density integrates to {mass:.4f}")
        return f"{mass:.4f}"

    def check_score(self) -> str:
        """The score has the shape of the points, and at a high noise level it is near -x / (1 + sigma^2).

        A score of one noise level is computed there alone, and other levels raise UnsupportedError.
        """
        if self.cls.score is Model.score:
            raise UnsupportedError("the model has no score")
        level = self.model.noise_level
        sigma = torch.tensor(30.0 if level is None else level)
        x = (1 + sigma**2).sqrt() * torch.randn((200, *self.info.shape), generator=torch.Generator().manual_seed(4))
        with no_global_randomness("score"):
            found = self.model.score(x, sigma, self.context(1)).detach()
        require(found.shape == x.shape, f"score has shape {tuple(found.shape)}, expected {tuple(x.shape)}")
        if level is not None:
            require(bool(torch.isfinite(found).all()), f"the score is not finite at noise level {level:g}")
            try:
                self.model.score(x, 2 * sigma + 1, self.context(1))
            except UnsupportedError:
                return f"at noise level {level:g} alone"
            raise AssertionError(f"noise_level is {level:g}, but score returns a value at another level")
        off = float((found + x / (1 + sigma**2)).norm() / (x / (1 + sigma**2)).norm())
        require(off < 0.2, f"at noise level {float(sigma):g} the score differs by {off:.0%} from -x / (1 + sigma^2)")
        return f"relative error {off:.1%} at noise level {float(sigma):g}"

    def check_loss(self) -> str:
        """The loss is a finite scalar with a gradient, and its randomness comes from the given generator alone."""
        if not issubclass(self.cls, NeuralModel) or self.cls.training_step is not NeuralModel.training_step:
            raise UnsupportedError("the model is not trained by a single loss")
        model = self.fitted()
        assert isinstance(model, NeuralModel)
        x = self.points("train")[:64]
        with no_global_randomness("loss"):
            loss, again = (model.loss(x, self.context(5)) for _ in range(2))
        require(loss.shape == (), f"loss has shape {tuple(loss.shape)}, expected a scalar")
        require(bool(torch.isfinite(loss)), "loss is not finite")
        require(loss.requires_grad, "loss has no gradient")
        require(torch.equal(loss, again), "loss differs between two generators of the same seed: hidden state?")
        return f"{float(loss.detach()):.4g}"
