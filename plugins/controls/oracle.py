"""The oracle: the data itself."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

import trilemma


class Oracle(trilemma.Model):
    """Draws from the distribution behind the data: no model can do better than its scores by more than chance.

    Real data has no known distribution: there it draws held-out points with replacement and has no likelihood.
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
        """The distribution's own log-density. Raises UnsupportedError where it is not known."""
        return truth(ctx).log_prob(x)

    def state(self) -> dict[str, Tensor]:
        return {}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        return None


def truth(ctx: trilemma.Context) -> trilemma.Truth:
    """The distribution in the context. Raises UnsupportedError where there is none."""
    if ctx.truth is None:
        raise trilemma.UnsupportedError("the oracle was given no distribution to draw from")
    return ctx.truth
