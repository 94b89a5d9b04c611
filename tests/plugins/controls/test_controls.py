"""Controls against closed forms and scikit-learn."""

from __future__ import annotations

import math

import pytest
import torch
from sklearn.mixture import GaussianMixture as SklearnMixture
from sklearn.neighbors import KernelDensity as SklearnKernelDensity
from torch import Tensor

import trilemma
from trilemma.plugins.controls import kernel
from trilemma.plugins.controls.gaussian import Gaussian
from trilemma.plugins.controls.gmm import GaussianMixture
from trilemma.plugins.controls.kde import KernelDensity
from trilemma.plugins.controls.memorizer import Memorizer
from trilemma.plugins.controls.mixture import mixture_log_prob, sample_mixture
from trilemma.plugins.controls.oracle import Oracle

CONTROLS = (Memorizer, Gaussian, GaussianMixture, KernelDensity)


class StandardNormal:
    """The distribution N(0, I) in two dimensions."""

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        return torch.randn((n, 2), generator=generator)

    def log_prob(self, x: Tensor) -> Tensor:
        return -0.5 * x.double().square().sum(1) - math.log(2 * math.pi)


def blobs(n: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randint(3, (n,), generator=generator)
    centers = torch.tensor([[-1.5, 0.0], [1.5, 0.0], [0.0, 1.5]])
    return centers[chosen] + 0.2 * torch.randn((n, 2), generator=generator)


def context(seed: int = 0, d: int = 2, **fields: object) -> trilemma.Context:
    info = trilemma.DataInfo(name="toy", kind="vector", shape=(d,), n_train=1_500)
    generator = torch.Generator().manual_seed(seed)
    return trilemma.Context(info=info, device=torch.device("cpu"), generator=generator, **fields)  # type: ignore[arg-type]


def fitted(kind: type[trilemma.Model], seed: int = 0, **config: object) -> trilemma.Model:
    model = kind(kind.Config(**config))
    model.fit(trilemma.Split(blobs(1_500, 1)), context(seed, valid=trilemma.Split(blobs(500, 2))))
    return model


@pytest.mark.parametrize("kind", [*CONTROLS, Oracle])
def test_controls_say_that_they_are(kind: type[trilemma.Model]) -> None:
    assert kind.control
    assert kind.likelihood == "exact"
    assert kind.needs_truth == (kind is Oracle)


def test_oracle_is_the_distribution() -> None:
    ctx = context(truth=StandardNormal())
    model = Oracle()
    model.fit(trilemma.Split(blobs(10, 0)), ctx)
    x = model.sample(20_000, ctx)
    torch.testing.assert_close(x.T.cov(), torch.eye(2), atol=0.05, rtol=0)
    expected = torch.distributions.Normal(0, 1).log_prob(x).sum(1).double()
    torch.testing.assert_close(model.log_prob(x, ctx), expected, atol=1e-5, rtol=0)


def test_oracle_without_a_distribution_is_unsupported() -> None:
    with pytest.raises(trilemma.UnsupportedError):
        Oracle().sample(3, context())


def test_gaussian_is_the_maximum_likelihood_fit() -> None:
    model, x, new = fitted(Gaussian), blobs(1_500, 1).double(), blobs(50, 3)
    reference = torch.distributions.MultivariateNormal(x.mean(0), x.T.cov(correction=0))
    torch.testing.assert_close(model.log_prob(new, context()), reference.log_prob(new.double()), atol=1e-4, rtol=0)


def test_gaussian_survives_a_degenerate_direction() -> None:
    x = blobs(200, 1)
    flat = torch.cat([x, x[:, :1]], dim=1)
    model = Gaussian()
    model.fit(trilemma.Split(flat), context(d=3))
    assert torch.isfinite(model.log_prob(flat, context(d=3))).all()


def test_mixture_density_agrees_with_scikit_learn() -> None:
    x = blobs(800, 1).double().numpy()
    reference = SklearnMixture(3, random_state=0).fit(x)
    weights, means = torch.from_numpy(reference.weights_), torch.from_numpy(reference.means_)
    factors = torch.linalg.cholesky(torch.from_numpy(reference.covariances_))
    new = blobs(100, 2)
    expected = torch.from_numpy(reference.score_samples(new.double().numpy()))
    torch.testing.assert_close(mixture_log_prob(new, weights, means, factors), expected)


def test_mixture_samples_have_its_moments() -> None:
    weights = torch.tensor([0.2, 0.8], dtype=torch.float64)
    means = torch.tensor([[-2.0, 0.0], [1.0, 1.0]], dtype=torch.float64)
    factors = torch.tensor([[[1.0, 0.0], [0.5, 0.2]], [[0.3, 0.0], [-0.1, 0.4]]], dtype=torch.float64)
    x = sample_mixture(200_000, weights, means, factors, torch.Generator().manual_seed(0)).double()
    mean = weights @ means
    second = torch.einsum("k,kij->ij", weights, factors @ factors.mT + means.unsqueeze(2) * means.unsqueeze(1))
    torch.testing.assert_close(x.mean(0), mean, atol=0.02, rtol=0)
    torch.testing.assert_close(x.T @ x / len(x), second, atol=0.03, rtol=0)


def test_gmm_chooses_by_validation() -> None:
    ctx = context()
    new = blobs(500, 3)
    chosen = fitted(GaussianMixture, components=(1, 3)).log_prob(new, ctx)
    assert ctx.details["components"] == 3
    assert chosen.mean() > fitted(GaussianMixture, components=(1,)).log_prob(new, context()).mean() + 0.5


def test_gmm_is_reproducible_and_follows_the_generator() -> None:
    new = blobs(100, 3)
    first, again, other = (
        fitted(GaussianMixture, seed, components=(12,)).log_prob(new, context()) for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_kde_agrees_with_scikit_learn() -> None:
    model = fitted(KernelDensity, bandwidths=(0.1,))
    state, new = model.state(), blobs(80, 3)
    assert state is not None
    reference = SklearnKernelDensity(bandwidth=0.1).fit(state["points"].double().numpy())
    expected = torch.from_numpy(reference.score_samples(new.double().numpy()))
    torch.testing.assert_close(model.log_prob(new, context()), expected)


def test_kde_chooses_its_bandwidth_by_validation_and_subsamples() -> None:
    model = fitted(KernelDensity, points=400)
    state = model.state()
    assert state is not None
    assert len(state["points"]) == 400
    valid = blobs(500, 2)
    scores = {
        bandwidth: SklearnKernelDensity(bandwidth=bandwidth).fit(state["points"].numpy()).score(valid.numpy())
        for bandwidth in model.config.bandwidths
    }
    assert float(state["bandwidth"]) == max(scores, key=lambda bandwidth: scores[bandwidth])


def test_kernel_density_in_blocks_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    x, centers = blobs(57, 1), blobs(33, 2)
    whole = kernel.kernel_log_prob(x, centers, 0.3)
    monkeypatch.setattr(kernel, "BLOCK", 100)
    torch.testing.assert_close(kernel.kernel_log_prob(x, centers, 0.3), whole)


def test_memorizer_replays_training_points() -> None:
    model, train = fitted(Memorizer), blobs(1_500, 1)
    nearest = torch.cdist(model.sample(300, context()), train).amin(1)
    assert nearest.max() < 6 * model.config.bandwidth
    assert not torch.equal(model.sample(5, context(1)), model.sample(5, context(2)))


def test_memorizer_density_is_of_the_narrow_mixture() -> None:
    model, train = fitted(Memorizer, bandwidth=0.01), blobs(1_500, 1).double()
    new = torch.cat([train[:20], blobs(20, 3).double()])
    components = torch.distributions.Normal(train, 0.01).log_prob(new.unsqueeze(1)).sum(2)
    torch.testing.assert_close(model.log_prob(new, context()), components.logsumexp(1) - math.log(1_500))


@pytest.mark.parametrize("kind", [Gaussian, GaussianMixture, KernelDensity])
def test_densities_have_unit_mass(kind: type[trilemma.Model]) -> None:
    axis = torch.linspace(-6, 6, 301)[:-1] + 0.02
    grid = torch.cartesian_prod(axis, axis)
    assert float(fitted(kind).log_prob(grid, context()).exp().sum()) * 0.04**2 == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("kind", CONTROLS)
def test_state_restores_density_and_samples(kind: type[trilemma.Model]) -> None:
    model, new = fitted(kind), blobs(30, 4)
    restored = kind(model.config)
    state = model.state()
    assert state is not None
    restored.load_state(state)
    assert torch.equal(restored.log_prob(new, context()), model.log_prob(new, context()))
    assert torch.equal(restored.sample(10, context(7)), model.sample(10, context(7)))


@pytest.mark.parametrize("kind", [GaussianMixture, KernelDensity])
def test_choosing_needs_a_validation_split(kind: type[trilemma.Model]) -> None:
    with pytest.raises(trilemma.DataError, match="validation"):
        kind().fit(trilemma.Split(blobs(50, 1)), context())
