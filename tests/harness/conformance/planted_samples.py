"""Models with a planted defect in their samples, options or costs, and correct models that look alike."""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from planted_models import Gauss
from plantings import look_alike, planted
from pydantic import Field
from torch import Tensor, nn

import trilemma

# Samples


@planted("model", "n capped", "sample-size", "as many independent points as asked for")
class Capped(Gauss):
    """It draws 1000 points at most."""

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        return super().sample(min(n, 1000), ctx)


@look_alike("n capped")
class InParts(Gauss):
    """It draws 1000 points at a time."""

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        return torch.cat([super(InParts, self).sample(min(1000, n - k), ctx) for k in range(0, n, 1000)])


@planted("model", "points repeated", "sample-size", "an independent draw")
class Repeated(Gauss):
    """It repeats each point."""

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        return super().sample(-(-n // 2), ctx).repeat(2, 1)[:n]


@planted("model", "points of earlier calls", "sample-size", "keep none for later")
class FromATable(Gauss):
    """It draws rows of a table that it made once."""

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        noise = torch.randn(9000, *ctx.info.shape, generator=torch.Generator().manual_seed(0))
        table = self.mean + self.scale * noise
        return table[torch.randperm(9000, generator=ctx.generator)[:n]]


@look_alike("points repeated")
class Antithetic(Gauss):
    """Its points come in pairs on both sides of the mean."""

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        z = self.noise(-(-n // 2), ctx)
        return self.mean + self.scale * torch.cat([z, -z])[:n]


@planted("model", "float64 output", "samplers", "end with .float()")
class Doubles(Gauss):
    """Its samples are float64."""

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        return super().sample(n, ctx).double()


@look_alike("float64 output")
class DoublesInside(Gauss):
    """It computes in float64."""

    def learn(self, x: Tensor) -> None:
        super().learn(x.double())

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        return super().sample(n, ctx).float()


@planted("model", "complex output", "samplers", "return its real part")
class Complex(Gauss):
    """Its samples are complex."""

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        return torch.fft.ifft(torch.fft.fft(super().sample(n, ctx)))


@look_alike("complex output")
class RealPart(Complex):
    """It takes the real part."""

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        return super().sample(n, ctx).real


@planted("model", "sparse output", "samplers", ".to_dense()")
class Sparse(Gauss):
    """Its samples are a sparse tensor."""

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        return super().sample(n, ctx).to_sparse()


@planted("model", "wrong device", "samplers", "ctx.device")
class Elsewhere(Gauss):
    """Its samples are on another device."""

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        return super().sample(n, ctx).to("meta")


@planted("model", "one dimension hard-coded", "dimension", "take the shape from ctx.info")
class Plane(Gauss):
    """It draws points in the plane."""

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        return self.mean + self.scale * torch.randn(n, 2, generator=ctx.generator)


@look_alike("one dimension hard-coded")
class PlaneOnly(Plane):
    """It says that it needs points in the plane."""

    def fit(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        if ctx.info.dim != 2:
            raise trilemma.UnsupportedError("it needs two coordinates")
        super().fit(train, ctx)


@planted("model", "samples that depend on the batch size", "batch-size", "no statistics of the batch")
class Standardized(Gauss):
    """It standardizes the samples of a call."""

    likelihood = "none"

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        z = self.noise(n, ctx)
        return self.mean + self.scale * (z - z.mean(0)) / (z.std(0, correction=0) + 1e-6)

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        raise trilemma.UnsupportedError("none")


@planted("model", "log-densities that depend on the batch", "rows", "no statistics of the batch")
class CenteredBatch(Gauss):
    """It centers the points of a call."""

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        shifted = x - 0.05 * x.mean(0) if len(x) < 1000 else x
        return super().log_prob(shifted, ctx)


@look_alike("samples that depend on the batch size")
class Normalized(trilemma.NeuralModel):
    """A network with batch normalization, which is in evaluation mode where it is used."""

    name = "normalized"

    def build(self, info: trilemma.DataInfo) -> None:
        self.net = nn.Sequential(nn.Linear(info.dim, 16), nn.BatchNorm1d(16), nn.SiLU(), nn.Linear(16, info.dim))

    def loss(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        z = torch.randn(x.shape, generator=ctx.generator)
        return (self.net(z).std(0) - x.std(0)).square().mean()

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        return self.net(torch.randn((n, *ctx.info.shape), generator=ctx.generator))


# Options and costs


class Wide(trilemma.Sampler):
    """A sampler with options."""

    name = "wide"
    shift: float = Field(0.0, description="added to the samples if `shifted`")
    shifted: bool = Field(False, description="whether `shift` is added")


@planted("model", "sampler options ignored", "sampler-options", "read it from ctx.sampler")
class Deaf(Gauss):
    """It does not read its options."""

    likelihood = "none"
    samplers = (Wide,)

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        raise trilemma.UnsupportedError("none")


@look_alike("sampler options ignored")
class Together(Deaf):
    """An option that changes samples only together with another one."""

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        assert isinstance(ctx.sampler, Wide)
        return super().sample(n, ctx) + ctx.sampler.shift * ctx.sampler.shifted


class Net(trilemma.NeuralModel):
    """A network of noise, trained to have the scale of the data."""

    name = "net"

    def build(self, info: trilemma.DataInfo) -> None:
        self.net = nn.Sequential(nn.Linear(info.dim, 64), nn.SiLU(), nn.Linear(64, info.dim))
        self.small = nn.Linear(info.dim, info.dim)

    def loss(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        z = torch.randn(x.shape, generator=ctx.generator)
        return (self.small(self.net(z)).std(0) - x.std(0)).square().mean()

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        return self.small(self.net(torch.randn((n, *ctx.info.shape), generator=ctx.generator)))


@planted("model", "network hidden from the count of evaluations", "cost", "must name every network")
class Hidden(Net):
    """It marks only its small network."""

    def networks(self) -> Iterable[nn.Module]:
        return (self.small,)


@look_alike("network hidden from the count of evaluations")
class Copied(Net):
    """It draws with a copy of its network, which it calls by its name alone and without a tensor."""

    class Noise(nn.Module):
        """A network that draws its own noise."""

        def __init__(self, dim: int) -> None:
            super().__init__()
            self.inner = nn.Linear(dim, dim)

        def forward(self, *, count: int, generator: torch.Generator) -> Tensor:
            return self.inner(torch.randn(count, self.inner.in_features, generator=generator))

    def build(self, info: trilemma.DataInfo) -> None:
        self.net = self.Noise(info.dim)

    def loss(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        return (self.net(count=len(x), generator=ctx.generator).std(0) - x.std(0)).square().mean()

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        return copy.deepcopy(self.net)(count=n, generator=ctx.generator)


# Generators and inputs


@planted("model", "seed of the generator read and not drawn", "sample-deterministic", "not from its initial_seed()")
class ReadsTheSeed(Gauss):
    """It seeds a generator of its own with the seed of the one that it gets."""

    def noise(self, n: int, ctx: trilemma.Context) -> Tensor:
        own = torch.Generator().manual_seed(ctx.generator.initial_seed())
        return torch.randn((n, *ctx.info.shape), generator=own)


@look_alike("seed of the generator read and not drawn")
class DrawsTheSeed(Gauss):
    """It draws the seed of a generator of its own."""

    def noise(self, n: int, ctx: trilemma.Context) -> Tensor:
        seed = int(torch.randint(2**31, (), generator=ctx.generator))
        return torch.randn((n, *ctx.info.shape), generator=torch.Generator().manual_seed(seed))


@planted("model", "far points written to by `log_prob`", "log-prob", "work on a copy")
class ClampsInPlace(Gauss):
    """It clamps points that are far away, in place."""

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        return super().log_prob(x.clamp_(-7, 7), ctx)


@look_alike("far points written to by `log_prob`")
class Clamps(Gauss):
    """It clamps a copy."""

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        return super().log_prob(x.clamp(-7, 7), ctx)
