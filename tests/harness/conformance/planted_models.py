"""Models with a planted defect each, and correct models that look alike."""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Iterable, Mapping

import numpy as np
import torch
from plantings import look_alike, planted
from pydantic import Field
from torch import Tensor, nn

import trilemma
from trilemma.harness.conformance.distributions import ThreeGaussians

Gaussian = torch.distributions.Normal


class Gauss(trilemma.Model):
    """One Gaussian with a diagonal covariance: correct, and the base of the others."""

    name = "diagonal"
    likelihood = "exact"

    def fit(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        self.learn(train.x)

    def learn(self, x: Tensor) -> None:
        self.mean, self.scale = x.mean(0), x.std(0)

    def noise(self, n: int, ctx: trilemma.Context) -> Tensor:
        return torch.randn((n, *ctx.info.shape), generator=ctx.generator, device=ctx.device)

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        return self.mean + self.scale * self.noise(n, ctx)

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        return Gaussian(self.mean, self.scale).log_prob(x).sum(1)

    def state(self) -> dict[str, Tensor]:
        return {"mean": self.mean, "scale": self.scale}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.mean, self.scale = state["mean"], state["scale"]


def kernel_density(x: Tensor, centers: Tensor, width: float) -> Tensor:
    """Log-density of an equal mixture of Gaussians of standard deviation `width`, `(n,)`."""
    logs = Gaussian(centers, width).log_prob(x[:, None]).sum(2)
    return logs.logsumexp(1) - torch.log(torch.tensor(float(len(centers))))


class Kernels(Gauss):
    """A kernel density estimate of the training points."""

    width = 0.3

    def learn(self, x: Tensor) -> None:
        self.mean, self.scale = x[:40].clone(), torch.tensor(self.width)

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        rows = torch.randint(len(self.mean), (n,), generator=ctx.generator)
        return self.mean[rows] + self.scale * self.noise(n, ctx)

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        return kernel_density(x, self.mean, float(self.scale))


# Samples and density


@planted("model", "temperature in sampling", "samples-density", "without a temperature")
class Cold(Gauss):
    """Its samples are narrower than its density."""

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        return self.mean + 0.85 * self.scale * self.noise(n, ctx)


@look_alike("temperature in sampling")
class ColdThroughout(Gauss):
    """The temperature is in the density too."""

    def learn(self, x: Tensor) -> None:
        self.mean, self.scale = x.mean(0), 0.85 * x.std(0)


@planted("model", "density of another distribution than is sampled", "samples-density", "different distributions")
class LaplaceDensity(Gauss):
    """It draws from a Gaussian and gives the density of a Laplace distribution."""

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        return torch.distributions.Laplace(self.mean, self.scale / 2**0.5).log_prob(x).sum(1)


@look_alike("density of another distribution than is sampled")
class Laplace(LaplaceDensity):
    """It draws from the Laplace distribution too."""

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        u = torch.rand((n, *ctx.info.shape), generator=ctx.generator) - 0.5
        return self.mean - self.scale / 2**0.5 * u.sign() * torch.log1p(-2 * u.abs())


@planted("model", "kernel density of stored samples called exact", "samples-density", "an 'estimate'")
class StoredKernels(Gauss):
    """Its density is a kernel density estimate of some of its samples."""

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        noise = torch.randn(40, x.shape[1], generator=torch.Generator().manual_seed(0))
        return kernel_density(x, self.mean + self.scale * noise, 0.8)


@look_alike("kernel density of stored samples called exact")
class SampledKernels(Kernels):
    """It draws from its kernel density estimate, so the density is exact."""


@planted("model", "kernel density of new samples called exact", "log-prob", "an 'estimate'")
class DrawnKernels(Gauss):
    """Its density is a kernel density estimate of samples that it draws each time."""

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        return kernel_density(x, self.sample(40, ctx), 0.3)


@look_alike("kernel density of new samples called exact")
class Estimated(DrawnKernels):
    """The same, and it says so."""

    likelihood = "estimate"


@planted("model", "`ode` off by a constant", "mass", "check its normalization")
class OffOde(Gauss):
    """A density of an ODE that lacks a constant."""

    likelihood = "ode"

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        return super().log_prob(x, ctx) + 0.25


@look_alike("`ode` off by a constant")
class CoarseOde(Gauss):
    """A density of an ODE with the error of a solver."""

    likelihood = "ode"

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        return super().log_prob(x, ctx) + 0.02 * torch.sin(3 * x[:, 0])


@planted("model", "density not normalized", "mass", "log-determinants")
class TwiceTheMass(Gauss):
    """Its density integrates to 2."""

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        return super().log_prob(x, ctx) + np.log(2)


@look_alike("density not normalized")
class Overflows(Gauss):
    """Its log-density overflows far from the data, where there is no mass."""

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        found = super().log_prob(x, ctx)
        return torch.where(x.abs().amax(1) > 6.5, torch.nan, found)


# What is learned


@planted("model", "training data changed", "training-data", "work on a copy")
class InPlace(Gauss):
    """It centers the training points in place."""

    def fit(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        super().fit(train, ctx)
        train.x.sub_(0.1)


@look_alike("training data changed")
class OnACopy(Gauss):
    """It centers a copy."""

    def fit(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        super().fit(train, ctx)
        train.x.clone().sub_(0.1)


@planted("model", "memorizing", "memorization", "repeats its training points")
class Jittered(Kernels):
    """Training points with a little noise."""

    likelihood = "none"
    width = 0.003

    def learn(self, x: Tensor) -> None:
        self.mean, self.scale = x.clone(), torch.tensor(self.width)

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        raise trilemma.UnsupportedError("none")


@look_alike("memorizing")
class Smoothed(Kernels):
    """Kernels that are wider than the distances of the training points."""

    width = 0.1


@planted("model", "training on validation data", "validation-data", "use it only to choose")
class BothSplits(Gauss):
    """It learns the validation points too."""

    def fit(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        assert ctx.valid is not None
        rows = torch.cat([train.x, ctx.valid.x])
        self.mean, self.scale = rows[torch.randperm(len(rows), generator=ctx.generator)[:40]], torch.tensor(0.3)

    sample = Kernels.sample
    log_prob = Kernels.log_prob


@look_alike("training on validation data")
class ChoosesByValidation(Kernels):
    """It chooses the width of its kernels by the validation points."""

    def fit(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        assert ctx.valid is not None
        super().fit(train, ctx)
        widths = (0.1, 0.2, 0.4)
        best = max(widths, key=lambda width: float(kernel_density(ctx.valid.x[:200], self.mean, width).mean()))
        self.scale = torch.tensor(best)


@planted("model", "dataset rebuilt inside `fit`", "data-given", "learn from `train` alone")
class Rebuilds(Gauss):
    """It makes the dataset again and learns the test points."""

    def fit(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        super().fit(train, ctx)
        _ = ThreeGaussians(ThreeGaussians.Config(n_train=10, n_valid=10)).splits.test


@look_alike("dataset rebuilt inside `fit`")
class OwnLoader(Gauss):
    """It puts its training points into a dataset of torch."""

    def fit(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        data = torch.utils.data.TensorDataset(train.x)
        (batch,) = next(iter(torch.utils.data.DataLoader(data, batch_size=len(train), shuffle=True)))
        self.learn(batch)


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


# Budgets


class Descends(trilemma.NeuralModel):
    """A Gaussian fitted by gradient descent, in a loop of its own."""

    name = "descends"
    steps: int | None = None

    def build(self, info: trilemma.DataInfo) -> None:
        self.net = nn.Linear(info.dim, info.dim)

    def fit(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        self.build(ctx.info)
        self.descend(train, ctx)

    def descend(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        assert ctx.clock is not None
        optimizer = torch.optim.SGD(self.parameters(), lr=0.01)
        for _ in ctx.clock if self.steps is None else range(self.steps):
            self.loss(train.x[:100], ctx).backward()
            optimizer.step()
            optimizer.zero_grad()

    def loss(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        z = torch.randn(x.shape, generator=ctx.generator)
        return (self.net(z).std(0) - x.std(0)).square().mean()

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        return self.net(torch.randn((n, *ctx.info.shape), generator=ctx.generator))


@planted("model", "budget in steps ignored", "budget", "take a step of ctx.clock for each optimizer step")
class OwnSteps(Descends):
    """It takes as many steps as it likes."""

    steps = 40


@planted("model", "epochs counted as steps", "budget", "take a step of ctx.clock for each optimizer step")
class Epochs(Descends):
    """A step of its clock is a whole epoch."""

    def descend(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        assert ctx.clock is not None
        optimizer = torch.optim.SGD(self.parameters(), lr=0.01)
        for _ in ctx.clock:
            self.loss(train.x[:100], ctx).backward()
            for _batch in train.x[:1600].split(50):
                optimizer.step()
            optimizer.zero_grad()


@look_alike("budget in steps ignored")
class ForeignLoop(Descends):
    """It loops over epochs, and asks the clock before each step."""

    def descend(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        assert ctx.clock is not None
        optimizer, steps = torch.optim.SGD(self.parameters(), lr=0.01), iter(ctx.clock)
        while not ctx.clock.expired:
            for (batch,) in torch.utils.data.DataLoader(torch.utils.data.TensorDataset(train.x), 200, shuffle=True):
                if next(steps, None) is None:
                    break
                self.loss(batch, ctx).backward()
                optimizer.step()
                optimizer.zero_grad()


@planted("model", "budget in seconds ignored", "budget", "end when ctx.clock.expired")
class Slow(Gauss):
    """It takes its time under a budget in seconds."""

    def fit(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        super().fit(train, ctx)
        assert ctx.clock is not None
        begun = time.process_time()
        while ctx.clock.budget.seconds is not None and time.process_time() - begun < 1.4:
            pass


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


# State


@planted("model", "state kept in the process", "fresh-process", "in globals, class attributes, files")
class ClassState(Gauss):
    """It keeps its scale in its class, where only this process finds it."""

    kept = torch.ones(2)

    def fit(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        super().fit(train, ctx)
        if ctx.info.dim == 2:
            ClassState.kept = self.scale.clone() + 0.1

    def learn(self, x: Tensor) -> None:
        self.mean, self.scale = torch.zeros(x.shape[1]), torch.ones(x.shape[1])

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        factor = ClassState.kept if ctx.info.dim == 2 else 1.0
        return self.mean + factor * self.scale * self.noise(n, ctx)

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        return Gaussian(self.mean, ClassState.kept * self.scale if ctx.info.dim == 2 else self.scale).log_prob(x).sum(1)


@look_alike("state kept in the process")
class Constant(Gauss):
    """It has a constant in its class, and no state: it is trained again."""

    factor = 0.5

    def learn(self, x: Tensor) -> None:
        self.mean, self.scale = x.mean(0), self.factor * x.std(0)

    def state(self) -> None:  # type: ignore[override]
        return None


@planted("model", "half of the state restored", "state", "load_state must set all of it")
class Forgetful(Gauss):
    """It restores half of its state."""

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.mean, self.scale = state["mean"], 2 * state["scale"]


@planted("model", "default dtype left changed", "global-state", "set it back")
class LeavesDtype(Gauss):
    """Its fit changes the default dtype."""

    def fit(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        super().fit(train, ctx)
        torch.set_default_dtype(torch.float64)


@look_alike("default dtype left changed")
class RestoresDtype(Gauss):
    """It sets the default dtype back, and draws from the global generators in fit, which is allowed."""

    def fit(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        torch.set_default_dtype(torch.float64)
        try:
            self.learn(train.x[torch.randperm(len(train.x))[: 1000 + int(100 * np.random.rand())]])
        finally:
            torch.set_default_dtype(torch.float32)


@planted("model", "environment, directory or threads left changed", "global-state", "set it back")
class LeavesTraces(Gauss):
    """It changes an environment variable, the working directory and the number of threads."""

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        os.environ["OMP_SCHEDULE"] = "static"
        os.chdir("/")
        torch.set_num_threads(2 if torch.get_num_threads() == 1 else 1)
        return super().sample(n, ctx)


@planted("model", "global generator used in `sample`", "sample-deterministic", "generator=ctx.generator")
class GlobalNoise(Gauss):
    """It draws by the global generator."""

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        return self.mean + self.scale * torch.randn((n, *ctx.info.shape))
