"""The base class of neural models, which the harness trains."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import ClassVar, Protocol

from torch import Tensor, nn

from ..contracts import config as records
from ..contracts.checkpoints import State
from ..contracts.model import Context, DataInfo, Model, Split
from ..contracts.recipe import Recipe
from .loop import train_model


class Update(Protocol):
    """A function that takes one optimizer step on a loss for a parameter group: backward, clip and step."""

    def __call__(self, loss: Tensor, group: str = "all") -> None: ...


class NeuralModel(Model, nn.Module):
    """Base class of neural models, which the training loop of the harness trains.

    The loop has the optimizer, the schedule, the average of the weights, clipping, the budget, a check for divergence
    and progress reports. A subclass defines `build` (create the networks), `loss` (of one minibatch) and `sample`.
    `loss` must have no hidden mutable state and no data-dependent control flow, so that compilation and batching over
    seeds stay possible.
    """

    recipe: ClassVar[Recipe] = Recipe()
    """The default training settings of this model. A suite may override single fields."""

    def __init__(self, config: records.Config | None = None) -> None:
        nn.Module.__init__(self)
        Model.__init__(self, config)

    @abstractmethod
    def build(self, info: DataInfo) -> None:
        """Create the networks for data of the shape in `info` as attributes. The global random state is seeded."""

    def initialize(self, train: Split, ctx: Context) -> None:
        """Initialize from the training split before the first step, if the model needs it (actnorm, scales, ...)."""
        return None

    @abstractmethod
    def loss(self, x: Tensor, ctx: Context) -> Tensor:
        """The scalar training loss of a minibatch `x`, shape `(batch, *info.shape)`."""

    def validation_loss(self, x: Tensor, ctx: Context) -> Tensor:
        """The scalar loss on validation data, which decides the kept weights. Random numbers are the same each time."""
        return self.loss(x, ctx)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Parameters by the name of their group. Each group has an optimizer. Adversarial models have two groups."""
        return {"all": [p for p in self.parameters() if p.requires_grad]}

    def before_step(self, ctx: Context) -> None:
        """Prepare a training step, given `ctx.clock`. It is for what depends on the progress, such as kept weights.

        What it changes must be parameters or buffers, or be in `training_state`.
        """
        return None

    def training_step(self, x: Tensor, ctx: Context, update: Update) -> dict[str, Tensor]:
        """One training step. The default takes one optimizer step on `loss`; adversarial models override it.

        Returns the scalars to store as curves. Training has diverged if one of them is not finite.
        """
        loss = self.loss(x, ctx)
        update(loss)
        return {"loss": loss.detach()}

    def schedule_progress(self, progress: float) -> float:
        """The share of the schedule of the learning rate that is over, given the share `progress` of the budget.

        A model that trains in several stages overrides it. Otherwise the later stages would train at a learning rate
        that has decayed.
        """
        return progress

    def training_state(self) -> State | None:
        """What this model changes in training besides its parameters and buffers, for checkpoints in training.

        It may hold numbers, texts, None, tensors, and lists and dictionaries (with text keys) of them. With None, the
        harness looks for such changes, and stores no checkpoint if there are any. What `initialize` sets and training
        does not change is left out.
        """
        return None

    def load_training_state(self, state: State) -> None:
        """Go on from what `training_state` returned. `build` and `initialize` have run as at the start."""
        raise NotImplementedError(f"model '{self.name}' has a training state but cannot load it")

    def prepare(self, info: DataInfo) -> None:
        self.build(info)

    def fit(self, train: Split, ctx: Context) -> None:
        train_model(self, train, ctx)

    def networks(self) -> Iterable[nn.Module]:
        return tuple(self.children())

    def state(self) -> dict[str, Tensor] | None:
        return dict(self.state_dict())

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.load_state_dict(dict(state))
