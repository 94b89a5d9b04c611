"""The validation split, for controls that choose among candidates."""

from __future__ import annotations

import trilemma


def validation_split(ctx: trilemma.Context) -> trilemma.Split:
    """The validation split of a fit. Raises DataError if there is none."""
    if ctx.valid is None:
        raise trilemma.DataError(
            "this control chooses its options by validation log-likelihood: use a dataset with a validation split"
        )
    return ctx.valid
