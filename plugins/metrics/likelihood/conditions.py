"""The conditions of a likelihood in words, such as "K = 64" or "rk4, 40 steps, Hutchinson's estimate, 4 probes"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import trilemma

BASES = ("continuous", "dequantized", "discrete")
"""What a density is with respect to: volume, volume in the space of images with added noise, or counting levels."""

_WORDS = {
    "importance_samples": "K = {}",
    "method": "{}",
    "solver": "{}",
    "steps": "{} steps",
    "divergence": "{} divergence",
    "probes": "{} probes",
    "draws": "{} draws",
}
# An option, and the detail that says the same.
_SAME = {
    "samples": "importance_samples",
    "sigma_min": "eps",
    "bound_draws": "draws",
    "dequantization": "dequantization",
}
_KINDS = ("ode", "bound")  # methods that the kind of the likelihood names already
_DIVERGENCES = {"hutchinson": "Hutchinson's estimate of the divergence"}


def conditions(options: Mapping[str, Any], details: Mapping[str, Any], *, dequantized: bool) -> str:
    """How a log-density was computed, from the options of the likelihood and the details that the model gave.

    Numbers and names of known words come first, then all other options that are set. An option that is False, None, 0
    or "auto" says nothing.
    """
    told = []
    for key, words in _WORDS.items():
        value = details.get(key)
        unused = key == "probes" and details.get("divergence") == "exact"
        unused |= key == "method" and value in _KINDS
        if _says_nothing(value) or unused:
            continue
        text = _DIVERGENCES.get(str(value)) or words.format(value)
        told.append(text[:-1] if value == 1 and text.endswith("s") else text)
    for key, value in options.items():
        if key in _WORDS or _SAME.get(key) in details or _says_nothing(value):
            continue
        told.append(
            f"{key.replace('_', ' ')} {value:g}" if isinstance(value, float) else f"{key.replace('_', ' ')} {value}"
        )
    if "eps" in details:
        told.append(f"from noise level {details['eps']:g}")
    if dequantized:
        told.append(f"{dequantization(details)} dequantization")
    return ", ".join(told)


def dequantization(details: Mapping[str, Any]) -> str:
    """The noise within intensity levels: that of the harness, unless the model says that it makes another one of it."""
    return str(details.get("dequantization", "uniform"))


def _says_nothing(value: Any) -> bool:
    return value is None or value == "auto" or (isinstance(value, bool | int | float) and not value)


def base(details: Mapping[str, Any], *, image: bool) -> str:
    """The base measure of a density, one of `BASES`.

    The harness adds noise to images, so a density of images is one of the dequantized images. A model whose `log_prob`
    gives the log-probability of intensity levels says so by `ctx.details["base"] = "discrete"`.
    """
    told = details.get("base", "dequantized" if image else "continuous")
    if told not in BASES:
        raise trilemma.PluginError(f"the details of a likelihood have base {told!r}: give one of {', '.join(BASES)}")
    return str(told)
