"""The base of models that the harness trains: what a plugin author writes of a neural model."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import ClassVar, Protocol

from torch import Tensor, nn

from ..contracts import config as records
from ..contracts.model import Context, DataInfo, Model, Split
from ..contracts.recipe import Recipe
from .loop import train_model


class Update(Protocol):
    """One optimizer step on a loss: backward, clip, step. `group` names one of the model's `parameter_groups`."""

    def __call__(self, loss: Tensor, group: str = "all") -> None: ...


class NeuralModel(Model, nn.Module):
    """A model trained by the harness's loop: optimizer, schedule, EMA, clipping, budget, divergence check, progress.

    Write `build` (make the networks), `loss` (of one minibatch) and `sample`. `loss` keeps no hidden mutable state and
    has no data-dependent control flow, so that compilation and batching over seeds stay possible.
    """

    recipe: ClassVar[Recipe] = Recipe()
    """The training settings that suit this model; a suite may override single fields."""

    def __init__(self, config: records.Config | None = None) -> None:
        nn.Module.__init__(self)
        Model.__init__(self, config)

    @abstractmethod
    def build(self, info: DataInfo) -> None:
        """Make the networks for a data shape and keep them as attributes. Parameters are drawn under a fixed seed."""

    def initialize(self, train: Split, ctx: Context) -> None:
        """Data-dependent initialization from the training split, before the first step (actnorm, scales, ...)."""
        return None

    @abstractmethod
    def loss(self, x: Tensor, ctx: Context) -> Tensor:
        """The scalar training loss of a minibatch `x`, shape `(batch, *info.shape)`."""

    def validation_loss(self, x: Tensor, ctx: Context) -> Tensor:
        """The scalar loss on validation data by which weights are kept; the same random numbers each time."""
        return self.loss(x, ctx)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Named groups, one optimizer each. Adversarial models return one for each player."""
        return {"all": [p for p in self.parameters() if p.requires_grad]}

    def training_step(self, x: Tensor, ctx: Context, update: Update) -> dict[str, Tensor]:
        """One step. The default takes one optimizer step on `loss`; adversarial models override it.

        Returns the scalars to store as curves; `loss` is the one watched for divergence.
        """
        loss = self.loss(x, ctx)
        update(loss)
        return {"loss": loss.detach()}

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
