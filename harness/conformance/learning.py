"""The checks of how a model is trained: on what, for how long, and in which shapes."""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ..boundary import described
from ..contracts.budget import Budget
from ..contracts.dataset import Dataset
from ..errors import UnsupportedError
from ..execution.stages import prepare
from ..training.neural import NeuralModel
from .distributions import SmallImages, ThreeGaussians
from .grid import SURE
from .kit import failing, needs, no_global_randomness, require
from .subject import SHORT, STEPS, Subject, changed
from .watched import Short, optimizer_steps

_BUDGET = 18  # steps: more than few
_SECONDS, _ALLOWED = 0.2, 1.2  # of a budget in seconds, and what it may take with all that is set up before
_PER_STEP = 30  # most optimizer steps for one step of the clock: adversarial models take several
_OTHER_DIM = 5
_SHIFT = 8.0  # of the validation points that no model may learn, in standard deviations
_FORBIDDEN = {
    "validation": "ctx.valid; use it only to choose among settings",
    "test": "test points, which the harness does not give it; learn from `train` alone",
}
_NEAR, _LEARNED = 1.0, 0.1  # the distance at which a sample copies such a point, and the share of samples that may
_COPIES = 0.25  # by how much more than half of the samples may be nearer to training points than to others
_MORE_LIKELY = 1.0  # nats by which training points may be more likely than others, besides chance
_COMPARED, _COMPARED_IMAGES = 200, 60  # points of which these are compared


class LearningChecks(Subject):
    """The checks of `fit` and `loss`."""

    @cached_property
    def longer(self) -> Short:
        """A training of a few steps more."""
        with optimizer_steps() as taken:
            model = self.train(budget=Budget(steps=_BUDGET, seconds=None))[0]
        return Short(model, len(taken))

    @needs("fit", "samplers", "sample-deterministic")
    def check_fit_deterministic(self) -> str:
        """Training again with the same seed gives the same samples."""
        again = self.train(budget=Budget(steps=SHORT, seconds=None))[0]
        require(
            torch.equal(self.drawn(self.short.model), self.drawn(again)),
            "the samples of two equal fits differ; draw from ctx.generator or the seeded global generators, and keep "
            "nothing from one fit to the next",
        )
        return "equal samples"

    @needs("fit")
    def check_budget(self) -> str:
        """Training takes the steps of its budget, and ends when the seconds of its budget are over."""
        few, many = self.short.taken, self.longer.taken
        use = "take a step of ctx.clock for each optimizer step, and end when there is none"
        require(
            not many or many > few,
            f"fit takes {many} optimizer steps under a budget of {_BUDGET} steps and {few} under one of "
            f"{SHORT}: it ignores the budget; {use}",
        )
        require(
            many <= _PER_STEP * _BUDGET,
            f"fit takes {many} optimizer steps under a budget of {_BUDGET} steps; {use}",
        )
        seconds = self.train(budget=Budget(seconds=_SECONDS, steps=None))[1].training.seconds
        require(
            seconds <= _ALLOWED,
            f"fit takes {seconds:.1f} s of a budget of {_SECONDS:g} s; iterate over ctx.clock, or end when "
            "ctx.clock.expired",
        )
        return f"{many} optimizer steps in {_BUDGET} steps" if many else "without optimizer steps"

    @needs("fit", "samplers", "sample-deterministic")
    def check_validation_data(self) -> str:
        """The model learns neither validation points, by which it may only choose, nor test points."""
        dataset, splits = self.dataset, self.dataset.splits
        if continuous := dataset.levels is None:
            away = _SHIFT * splits.train.std(0)
            moved = {"validation": splits.valid + away, "test": splits.test - away}
        else:
            moved = {"validation": splits.valid.max() - splits.valid}
        others = changed(dataset, valid=moved["validation"], test=moved.get("test", splits.test))
        steps = _BUDGET if self.images else STEPS
        model, _, watched = self.train(dataset=others, budget=Budget(steps=steps, seconds=None))
        usual = self.longer.model if self.images else self.model
        train = watched.given["train"][0].flatten(1)
        before, after = (self.drawn(drawn, 200, seed=8).flatten(1) for drawn in (usual, model))
        found = []
        for name, points in moved.items():
            other = watched.given["valid"][0] if name == "validation" else watched.space.to_model(points)[0].float()
            shares = [_share_beside(x, other.flatten(1), train, continuous) for x in (before, after)]
            require(
                shares[1] - shares[0] <= _LEARNED,
                f"{shares[1]:.0%} of the samples are beside {name} points that were moved away from the training "
                f"points: fit learns from {_FORBIDDEN[name]}",
            )
            found.append(f"{shares[1]:.1%} of the samples are beside moved {name} points")
        return "; ".join(found)

    @needs("fit")
    def check_data_given(self) -> str:
        """`fit` makes no dataset of its own, which would show it the test points."""
        made = self.short.made
        require(
            not made,
            f"fit makes the dataset {', '.join(sorted(made))}; learn from `train` alone, because a dataset "
            "also holds the test points",
        )
        return "none is made"

    @needs("sample-size", "log-prob")
    def check_memorization(self) -> str:
        """Samples are no nearer to training points than to as many other points, nor are those more likely."""
        train, other = self.points("train"), self.points("test")
        n = min(len(train), len(other), self.size)
        x = self.many[:500].flatten(1)
        to_train, nearest = torch.cdist(x, train[:n].flatten(1)).min(1)
        to_other = torch.cdist(x, other[:n].flatten(1)).min(1).values
        # Samples beside the same training point tell the same, so each such point counts once.
        points, groups = np.unique(nearest.numpy(), return_inverse=True)
        share = float((np.bincount(groups, (to_train < to_other).numpy()) / np.bincount(groups)).mean())
        fix = "the model repeats its training points; smooth it, or mark it as a control"
        most = 0.5 + max(_COPIES, SURE * 0.5 / math.sqrt(len(points)))
        require(share <= most, f"{share:.0%} of the samples are nearer to training points than to others: {fix}")
        if self.cls.likelihood in ("exact", "ode"):
            n = _COMPARED_IMAGES if self.images else _COMPARED
            seen, unseen = (self.log_prob(part[:n]) for part in (train, other))
            more = float(seen.median() - unseen.median())
            by_chance = SURE * math.hypot(_error_of_median(seen), _error_of_median(unseen))
            require(
                more <= _MORE_LIKELY + by_chance, f"training points are {more:.2f} nats more likely than others: {fix}"
            )
        return f"{share:.0%} of the samples are nearer to training points than to others"

    @needs("samplers", "log-prob")
    def check_dimension(self) -> str:
        """The model also works on data of another shape: five coordinates, or three channels."""
        info = self.prepared.info
        dataset: Dataset = ThreeGaussians(ThreeGaussians.Config(dim=_OTHER_DIM, n_train=500, n_valid=200, n_test=200))
        if info.kind == "image":
            dataset = SmallImages(SmallImages.Config(channels=3))
        model = self.cls(self.config)
        shape = prepare(model, dataset).info.shape
        try:
            model, _, watched = self.train(budget=Budget(steps=SHORT, seconds=None), dataset=dataset)
            with self.watch("sample"):
                x = model.sample(7, self.context(sampler=self.quick, prepared=watched)).detach()
            if self.cls.likelihood != "none":
                points = watched.given["train"][0][:5]
                values = model.log_prob(points, self.context(prepared=watched))
                require(
                    tuple(values.shape) == (5,), f"log_prob has shape {tuple(values.shape)} for 5 points of {shape}"
                )
        except (UnsupportedError, AssertionError):
            raise
        except Exception as error:
            raise failing(
                f"points of shape {info.shape} work, and points of shape {shape} fail with {described(error)}; take "
                "the shape from ctx.info, and raise trilemma.UnsupportedError for shapes that the model cannot have",
                error,
            ) from error
        self.require_shape(x, (7, *shape))
        return f"shapes {info.shape} and {shape}"

    def require_shape(self, x: Tensor, shape: tuple[int, ...]) -> None:
        """Fail unless samples of another shape of data have this shape."""
        require(tuple(x.shape) == shape, f"sample has shape {tuple(x.shape)}, expected {shape}: use ctx.info.shape")

    @needs("fit")
    def check_loss(self) -> str:
        """The loss is a finite scalar with a gradient, and its randomness comes from the given generator alone."""
        if not issubclass(self.cls, NeuralModel) or self.cls.training_step is not NeuralModel.training_step:
            raise UnsupportedError("the model is not trained by a single loss")
        model = self.short.model
        assert isinstance(model, NeuralModel)
        x = self.points("train")[:64]
        with no_global_randomness("loss"), self.watch("loss"):
            loss, again = (model.loss(x, self.context(5)) for _ in range(2))
        require(loss.shape == (), f"loss has shape {tuple(loss.shape)}, expected a scalar; take the mean over points")
        require(bool(torch.isfinite(loss)), "loss is not finite")
        require(loss.requires_grad, "loss has no gradient; do not detach it or compute it without gradients")
        require(torch.equal(loss, again), "loss differs between two generators of the same seed: hidden state?")
        return f"{float(loss.detach()):.4g}"


def _error_of_median(values: Tensor) -> float:
    """The standard error of a median, if the middle half of the values (n,) is about normal.

    The variance is pi / 2 times that of a mean, and the quartiles of a normal distribution are 1.349 deviations apart.
    """
    low, high = values.quantile(torch.tensor([0.25, 0.75], dtype=values.dtype))
    return math.sqrt(math.pi / 2 / len(values)) * float(high - low) / 1.349


def _share_beside(x: Tensor, other: Tensor, train: Tensor, continuous: bool) -> float:
    """The share of samples (n, d) that are nearer to other points than to training points, and near, if continuous."""
    to_other, to_train = (torch.cdist(x, points).min(1).values for points in (other, train))
    close = to_other < to_train
    if continuous:
        close &= to_other < _NEAR
    return float(close.float().mean())
