"""The Gaussian copula of the library copulas, as a plugin of trilemma."""

import trilemma


@trilemma.hookimpl
def trilemma_models() -> dict[str, str]:
    """The models of this package, by name. They are imported when they are used."""
    return {"gaussian-copula": ".model:GaussianCopula"}
