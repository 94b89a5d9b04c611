"""A variational autoencoder that Lightning trains, as a plugin of trilemma."""

import trilemma


@trilemma.hookimpl
def trilemma_models() -> dict[str, str]:
    """The models of this package, by name. They are imported when they are used."""
    return {"lightning-vae": ".model:LightningVae"}
