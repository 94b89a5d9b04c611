"""The oracle control, which draws from the true distribution."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

import trilemma


class Oracle(trilemma.Model):
    """Draws from the true distribution, so no model can have better results than the oracle by more than chance.

    For real data, the true distribution is not known. There the oracle draws held-out points with replacement and has
    no likelihood.
    """

    name = "oracle"
    family = "control"
    likelihood = "exact"
    control = True
    needs_truth = True

    def fit(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        return None

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        return truth(ctx).sample(n, ctx.generator).to(ctx.device)

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        """Log-density of the true distribution in nats, `(n,)`. Raises UnsupportedError if it is not known."""
        return truth(ctx).log_prob(x)

    def state(self) -> dict[str, Tensor]:
        return {}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        return None


def truth(ctx: trilemma.Context) -> trilemma.Truth:
    """The true distribution in the context. Raises UnsupportedError if there is none."""
    if ctx.truth is None:
        raise trilemma.UnsupportedError("the model oracle needs the true distribution, but its context has none")
    return ctx.truth
