"""The table of the page that helps to choose a model, written from what the models say of themselves."""

from __future__ import annotations

from typing import Any

from _markdown import table

from trilemma.harness.plugins import Registry

MARK = "<!-- models -->"
"""Where docs/choose-a-model.md lists the models."""


def fill(markdown: str) -> str:
    """The page with its table."""
    return markdown.replace(MARK, overview())


def overview() -> str:
    """Every model that is no control: family, data, likelihood, and how its samples are drawn."""
    classes = Registry(builtin_only=True).classes("models")
    rows = [
        [f"[{name}](reference/models.md#{name})", *_traits(cls)] for name, cls in classes.items() if not cls.control
    ]
    return table(["Model", "Family", "Data", "Likelihood", "Samples"], rows)


def _traits(cls: Any) -> list[str]:
    samplers = [sampler.name for sampler in cls.samplers]
    steps = "in steps: " if len(samplers) == 1 else f"in steps, {len(samplers)} samplers: "
    drawn = "direct" if samplers == ["direct"] else f"{steps}`{samplers[0]}`" + (", ..." if len(samplers) > 1 else "")
    data = " and ".join(f"{kind}s" for kind in cls.accepts)
    return [cls.family, data, f"`{cls.likelihood}`", drawn]
