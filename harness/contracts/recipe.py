"""The recipe of a neural model: the optimizer, its schedule, and the weights that are kept."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .config import Config


class Recipe(Config):
    """Settings of the training loop of the harness. A model class has its own defaults; a suite may override them."""

    lr: float = Field(1e-3, gt=0, description="peak learning rate", json_schema_extra={"tune": "log:3e-4:3e-2"})
    lr_factors: dict[str, float] = Field({}, description="factors of `lr` for parameter groups; 1 for groups not named")
    batch_size: int = Field(
        256,
        ge=1,
        description="points per step, from shuffled passes over the training split",
        json_schema_extra={"tune": "64|128|256|512|1024"},
    )
    betas: tuple[float, float] = Field((0.9, 0.999), description="Adam's averaging coefficients")
    weight_decay: float = Field(
        0.0,
        ge=0,
        description="decoupled weight decay (AdamW)",
        json_schema_extra={"tune": "0.0|0.001|0.01|0.1"},
    )
    schedule: Literal["cosine", "onecycle", "constant"] = Field(
        "cosine", description="schedule of the learning rate over the budget"
    )
    warmup: int = Field(50, ge=0, description="steps of linear warm-up (cosine and constant)")
    clip: float | None = Field(1.0, gt=0, description="largest gradient norm; longer gradients are scaled down")
    ema: float | None = Field(
        0.999,
        gt=0,
        lt=1,
        description="decay of the moving average of the weights, ramped up in the first steps",
        json_schema_extra={"tune": "0.99|0.998|0.9995"},
    )
    keep: Literal["best", "last"] = Field(
        "best", description="weights kept: those with the best validation loss, or the last"
    )
    validations: int = Field(20, ge=0, description="number of times that the validation loss is computed in a budget")
