"""A neural spline flow of zuko, as a plugin of trilemma."""

import trilemma


@trilemma.hookimpl
def trilemma_models() -> dict[str, str]:
    """The models of this package, by name. They are imported when they are used."""
    return {"zuko-nsf": ".model:ZukoSpline"}
