"""A model whose validation NLL is known in closed form, data whose test split can be poisoned, and a metric that looks
at every point that it can get.
"""

import torch
from pydantic import Field, model_validator

import trilemma


class Two(trilemma.Dataset):
    """Normal points of two coordinates. The test split is moved far away by `test_at`."""

    name = "two"
    title = "Two"
    source = "drawn"
    license = "MIT"

    class Config(trilemma.Config):
        """Where the test split is."""

        test_at: float = Field(0.0, description="added to every test point")

    def load(self):
        train, valid, test = (torch.randn(60, 2, generator=torch.Generator().manual_seed(k)) for k in range(3))
        return trilemma.Splits(train, valid, test + self.config.test_at)


class Scaled(trilemma.Model):
    """N(0, scale^2 I), which learns nothing."""

    name = "scaled"
    likelihood = "exact"

    class Config(trilemma.Config):
        """The scale."""

        scale: float = Field(2.5, gt=0, description="standard deviation", json_schema_extra={"tune": "0.5:4.0"})
        fails_above: float = Field(9.0, description="scale above which `fit` fails")

    def fit(self, train, ctx):
        if self.config.scale > self.config.fails_above:
            raise ValueError("the scale is too large")

    def sample(self, n, ctx):
        return self.config.scale * torch.randn((n, 2), generator=ctx.generator)

    def log_prob(self, x, ctx):
        return torch.distributions.Normal(0.0, self.config.scale).log_prob(x).sum(1)


class Wide(Scaled):
    """The same without a likelihood."""

    name = "wide"
    likelihood = "none"


class Paired(Scaled):
    """The same, which refuses small scales together with a flag."""

    name = "paired"

    class Config(Scaled.Config):
        """The scale and a flag."""

        careful: bool = Field(False, description="whether to refuse a scale below 2")

        @model_validator(mode="after")
        def _large(self):
            if self.careful and self.scale < 2:
                raise ValueError("a careful scale is 2 or more")
            return self


class Peek(trilemma.Metric):
    """The largest coordinate among all points that an evaluation can reach."""

    name = "peek"
    stage = "likelihood"
    quantities = (trilemma.Quantity(name="peek", title="Peek", group="further"),)

    def compute(self, evaluation):
        splits = evaluation.dataset.splits
        seen = [splits.train, splits.valid, splits.test]
        seen += [torch.tensor(evaluation.points(name)) for name in ("train", "valid", "test")]
        seen.append(torch.tensor(evaluation.real(40)))
        return [self.quantities[0].result(max(float(part.abs().max()) for part in seen), evaluation.dim)]


@trilemma.hookimpl
def trilemma_models():
    return [Scaled, Wide, Paired]


@trilemma.hookimpl
def trilemma_datasets():
    return [Two]


@trilemma.hookimpl
def trilemma_metrics():
    return [Peek]
