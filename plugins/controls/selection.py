"""Choosing among candidates by the validation data."""

from __future__ import annotations

import trilemma


def validation_split(ctx: trilemma.Context) -> trilemma.Split:
    """The validation split of a fit. Raises DataError where there is none."""
    if ctx.valid is None:
        raise trilemma.DataError("this control chooses by validation log-likelihood and needs a validation split")
    return ctx.valid
