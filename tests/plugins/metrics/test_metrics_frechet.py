"""W1, Sinkhorn, alpha-precision, tables, KDE likelihood, score error, Frechet: closed forms and peers."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import Field
from scipy import stats
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from sklearn.neighbors import KernelDensity, NearestNeighbors
from torch import Tensor, nn

import trilemma
from trilemma.harness.evaluation.evaluation import TrainingRecord
from trilemma.harness.evaluation.spaces import Space
from trilemma.plugins.metrics.alpha_precision import AlphaPrecision, alpha_precision, authenticity, beta_recall
from trilemma.plugins.metrics.encoders import feature_distances, load_encoder
from trilemma.plugins.metrics.frechet import Frechet
from trilemma.plugins.metrics.kde_nll import KdeNll, kde_nll
from trilemma.plugins.metrics.precision_recall import precision_recall
from trilemma.plugins.metrics.score_error import ScoreError, log_sigma_integral, mixture_score
from trilemma.plugins.metrics.sinkhorn import entropic_cost, sinkhorn_divergence
from trilemma.plugins.metrics.tabular import Tabular, correlation_distance, marginal_distances
from trilemma.plugins.metrics.transport import squared_w2, w1
from trilemma.plugins.metrics.wasserstein import Wasserstein1

Array = NDArray[np.float64]


class Normals(trilemma.Distribution):
    """Two Gaussians in the plane, far from standardized."""

    name = "normals"

    class Config(trilemma.DistributionConfig):
        n_train: int = Field(2000, description="training points")
        n_valid: int = Field(500, description="validation points")
        n_test: int = Field(500, description="test points")

    centers = torch.tensor([[10.0, 0.0], [40.0, 5.0]], dtype=torch.float64)
    scale = torch.tensor([2.0, 0.5], dtype=torch.float64)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        labels = torch.randint(2, (n,), generator=generator)
        return (self.centers[labels] + self.scale * torch.randn(n, 2, generator=generator)).float()

    def log_prob(self, x: Tensor) -> Tensor:
        parts = [torch.distributions.Normal(c, self.scale).log_prob(x.double()).sum(1) for c in self.centers]
        return torch.stack(parts).logsumexp(0) - math.log(2)

    def modes(self) -> trilemma.Modes:
        return trilemma.Modes(self.centers, torch.ones(2) / 2, torch.diag(self.scale**2).expand(2, 2, 2))


class Images(trilemma.Dataset):
    """Noise of four levels."""

    name = "noise"
    kind = "image"
    levels = 4

    def load(self) -> trilemma.Splits:
        parts = [
            torch.randint(4, (n, 1, 4, 4), generator=torch.Generator().manual_seed(n), dtype=torch.uint8)
            for n in (300, 200, 210)
        ]
        return trilemma.Splits(*parts)


class Replay(trilemma.Model):
    """Training points; its score is the true one, plus `error` in every coordinate."""

    name = "replay"

    class Config(trilemma.Config):
        error: float = Field(0.0, description="added to the score")

    distribution: trilemma.Modes | None = None

    def fit(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        self.x = train.x

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        return self.x[torch.randint(len(self.x), (n,), generator=ctx.generator)]

    def score(self, x: Tensor, sigma: Tensor, ctx: trilemma.Context) -> Tensor:
        if self.distribution is None:
            return super().score(x, sigma, ctx)
        modes = self.distribution
        true = mixture_score(
            x.double(), centers=modes.centers, weights=modes.weights, covariances=modes.covariances, sigma=float(sigma)
        )
        return true + self.config.error


def evaluate(dataset: trilemma.Dataset, error: float = 0.0, *, knows: bool = False) -> trilemma.Evaluation:
    space = Space.fit(dataset, flatten=False)
    info = trilemma.DataInfo(dataset.name, dataset.kind, dataset.shape, 2000, dataset.levels)
    model = Replay(Replay.Config(error=error))
    model.fit(
        trilemma.Split(
            space.to_model(space.dequantize(dataset.splits.train, torch.Generator().manual_seed(0))[0])[0].float()
        ),
        trilemma.Context(info=info, device=torch.device("cpu"), generator=torch.Generator()),
    )
    record = TrainingRecord(seconds=1, wall_seconds=1, steps=1, peak_memory=1, parameters=1)
    evaluation = trilemma.Evaluation(model, dataset, space, info, seed=0, device=torch.device("cpu"), training=record)
    if knows:
        model.distribution = evaluation.model_space_modes()
    return evaluation


def clouds(n: int, d: int, seed: int = 0) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)), 0.5 + 1.5 * rng.standard_normal((n, d))


# W1


def test_w1_is_the_best_matching_and_in_one_dimension_scipys() -> None:
    real, generated = clouds(150, 3)
    cost = cdist(real, generated)
    assert w1(real=real, generated=generated) == pytest.approx(cost[linear_sum_assignment(cost)].mean())
    line, other = clouds(150, 1)
    assert w1(real=line, generated=other) == pytest.approx(stats.wasserstein_distance(line[:, 0], other[:, 0]))


def test_w1_and_its_excess_have_the_units_of_the_data() -> None:
    results = Wasserstein1(Wasserstein1.Config(n=200, draws=3)).compute(evaluate(Normals()))
    assert [(r.metric, r.unit) for r in results] == [("w1", "data units"), ("w1_excess", "data units")]
    assert results[0].value == results[0].details["P"]


# Sinkhorn


def test_the_sinkhorn_divergence_runs_from_w2_to_the_distance_of_the_means() -> None:
    real, generated = clouds(120, 2)
    assert sinkhorn_divergence(real=real, generated=generated, epsilon=1e-2) == pytest.approx(
        squared_w2(real=real, generated=generated), rel=0.02
    )
    means = ((real.mean(0) - generated.mean(0)) ** 2).sum()
    assert sinkhorn_divergence(real=real, generated=generated, epsilon=1e5) == pytest.approx(means, rel=1e-3)


def test_the_entropic_cost_of_gaussians() -> None:
    """OT_eps of N(0, s^2) and N(0, t^2) under squared cost (Janati et al. 2020, theorem 1, in one dimension)."""
    rng = np.random.default_rng(1)
    s, t, epsilon = 1.0, 2.0, 0.5
    x, y = s * rng.standard_normal((2500, 1)), t * rng.standard_normal((2500, 1))
    root = math.sqrt(4 * s**2 * t**2 + epsilon**2 / 4)  # 2 s t without regularization
    expected = s**2 + t**2 - root + epsilon / 2 * (1 - math.log(epsilon) + math.log(root + epsilon / 2))
    assert entropic_cost(x, y, epsilon) == pytest.approx(expected, abs=0.08)


def test_the_sinkhorn_divergence_is_zero_for_equal_sets_alone() -> None:
    real, generated = clouds(100, 3)
    assert sinkhorn_divergence(real=real, generated=real[::-1], epsilon=0.3) == pytest.approx(0, abs=1e-3)
    assert sinkhorn_divergence(real=real, generated=generated, epsilon=0.3) > 0.1


def test_clusters_that_differ_by_one_point_converge() -> None:
    rng = np.random.default_rng(2)
    real = np.concatenate([rng.standard_normal((50, 2)), 100 + rng.standard_normal((50, 2))])
    generated = np.concatenate([rng.standard_normal((51, 2)), 100 + rng.standard_normal((49, 2))])
    found = sinkhorn_divergence(real=real, generated=generated, epsilon=0.5)
    assert found == pytest.approx(squared_w2(real=real, generated=generated), rel=0.01)


# Alpha-precision, beta-recall, authenticity


def test_alpha_precision_of_the_distribution_and_of_its_failures() -> None:
    rng = np.random.default_rng(3)
    real, same = rng.standard_normal((2, 5000, 2))
    assert alpha_precision(real=real, generated=real) == pytest.approx(1, abs=2e-3)
    assert alpha_precision(real=real, generated=same) > 0.95
    assert alpha_precision(real=real, generated=real + 100) == pytest.approx(0, abs=1e-3)
    assert alpha_precision(real=real, generated=np.tile(real.mean(0), (5000, 1))) == pytest.approx(0, abs=1e-3)
    # Half the scale: |x|^2 / 2 is exponential, so P(alpha) = 1 - (1 - alpha)^4, and 1 - 2 int = 1 - 2 (3/10).
    assert alpha_precision(real=real, generated=real / 2) == pytest.approx(0.4, abs=0.02)


def test_beta_recall_by_definition() -> None:
    rng = np.random.default_rng(4)
    real, generated, k = rng.standard_normal((300, 2)), 0.8 * rng.standard_normal((300, 2)), 3
    cross = cdist(real, generated)
    radii = np.sort(cdist(real, real), axis=1)[:, k]
    nearest = cross.argmin(1)
    from_center = np.linalg.norm(generated - generated.mean(0), axis=1)[nearest]
    levels = (np.arange(200) + 0.5) / 200
    shares = []
    for level in levels:
        radius = np.sort(from_center)[max(0, math.floor(level * 300) - 1)] if level * 300 >= 1 else -1
        shares.append(((cross.min(1) <= radii) & (from_center <= radius)).mean())
    expected = 1 - 2 * np.abs(np.array(shares) - levels).mean()
    assert beta_recall(real=real, generated=generated, k=k) == pytest.approx(expected, abs=0.01)
    assert beta_recall(real=real, generated=real, k=k) == pytest.approx(1, abs=0.01)


def test_authenticity_finds_copies() -> None:
    rng = np.random.default_rng(5)
    train, fresh = rng.standard_normal((2, 700, 2))
    assert authenticity(generated=train + 1e-6, train=train) == 0
    assert authenticity(generated=fresh + 100, train=train) == 1
    distances, index = NearestNeighbors(n_neighbors=1).fit(train).kneighbors(fresh)
    apart = NearestNeighbors(n_neighbors=2).fit(train).kneighbors(train)[0][:, 1]
    expected = (distances[:, 0] > apart[index[:, 0]]).mean()
    assert authenticity(generated=fresh, train=train) == pytest.approx(expected)
    assert 0.2 < expected < 0.6


def test_a_memorizer_has_precision_and_recall_without_authenticity() -> None:
    found = {r.metric: r for r in AlphaPrecision(AlphaPrecision.Config(n=400, draws=2)).compute(evaluate(Normals()))}
    assert found["alpha_precision"].value == pytest.approx(found["alpha_precision"].floor, abs=0.06)
    assert found["authenticity"].value < 0.01 < found["authenticity"].floor
    assert found["authenticity"].better == "none"


def test_precision_recall_equals_the_prdc_package() -> None:
    prdc = pytest.importorskip("prdc")
    real, generated = clouds(400, 4)
    peer = prdc.compute_prdc(real_features=real, fake_features=generated, nearest_k=5)
    assert precision_recall(real=real, generated=generated, k=5) == pytest.approx(
        {k: float(v) for k, v in peer.items()}
    )


# Tables


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), decimals=st.integers(0, 3))
def test_marginal_distances_are_those_of_scipy(seed: int, decimals: int) -> None:
    rng = np.random.default_rng(seed)
    real, generated = (np.round(rng.standard_normal((40, 3)), decimals) for _ in range(2))
    expected = [stats.ks_2samp(real[:, j], generated[:, j]).statistic for j in range(3)]
    assert marginal_distances(real=real, generated=generated) == pytest.approx(expected)


def test_correlation_distance_is_that_of_numpys_coefficients() -> None:
    rng = np.random.default_rng(6)
    mix = rng.standard_normal((4, 4))
    real, generated = rng.standard_normal((300, 4)) @ mix, rng.standard_normal((300, 4))
    pairs = np.triu_indices(4, 1)
    expected = np.abs(np.corrcoef(real.T)[pairs] - np.corrcoef(generated.T)[pairs]).mean()
    assert correlation_distance(real=real, generated=generated) == pytest.approx(expected)
    generated[:, 0] = 1.0
    assert math.isfinite(correlation_distance(real=real, generated=generated))
    with pytest.raises(trilemma.DataError, match="no correlations"):
        correlation_distance(real=real[:, :1], generated=generated[:, :1])


def test_images_are_no_tables() -> None:
    with pytest.raises(trilemma.UnsupportedError):
        Tabular(Tabular.Config(n=50, draws=2)).compute(evaluate(Images()))


# KDE likelihood


def test_kde_nll_is_that_of_scikit_learn() -> None:
    real, generated = clouds(300, 3)
    width = 0.7
    peer = KernelDensity(bandwidth=width).fit(generated).score(real) / len(real)
    assert kde_nll(real=real, generated=generated, bandwidths=np.array([width])) == pytest.approx(-peer)


def test_the_bandwidth_maximizes_the_leave_one_out_likelihood() -> None:
    real, generated = clouds(60, 2)
    widths = np.array([0.05, 0.2, 0.5, 1.0, 3.0])
    scores = [
        sum(
            KernelDensity(bandwidth=h).fit(np.delete(generated, i, 0)).score(generated[i : i + 1])
            for i in range(len(generated))
        )
        for h in widths
    ]
    chosen = widths[int(np.argmax(scores))]
    alone = kde_nll(real=real, generated=generated, bandwidths=np.array([chosen]))
    assert kde_nll(real=real, generated=generated, bandwidths=widths) == pytest.approx(alone)


def test_kde_nll_is_an_estimate_beside_that_of_the_data() -> None:
    nll, excess = KdeNll(KdeNll.Config(n=300, draws=3)).compute(evaluate(Normals()))
    assert nll.likelihood == excess.likelihood == "estimate"
    truth = -float(Normals().log_prob(Normals().splits.test).mean())
    assert nll.floor == pytest.approx(nll.details["oracle"])
    assert truth < nll.floor < truth + 0.4, "the estimator is worse than the distribution, in the units of the data"
    assert excess.value == pytest.approx(nll.value - nll.floor)
    assert abs(excess.value) < 0.1
    with pytest.raises(trilemma.UnsupportedError):
        KdeNll(KdeNll.Config(n=50, draws=2)).compute(evaluate(Images()))


# Score error


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), sigma=st.floats(0.01, 30))
def test_the_score_of_a_mixture_is_the_gradient_of_its_smoothed_density(seed: int, sigma: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    centers = 3 * torch.randn(3, 2, generator=generator, dtype=torch.float64)
    roots = torch.randn(3, 2, 2, generator=generator, dtype=torch.float64)
    covariances = roots @ roots.mT + 0.05 * torch.eye(2, dtype=torch.float64)
    weights = torch.rand(3, generator=generator, dtype=torch.float64) + 0.1
    weights = weights / weights.sum()
    x = 4 * torch.randn(10, 2, generator=generator, dtype=torch.float64)
    x.requires_grad_()
    components = torch.distributions.MultivariateNormal(centers, covariances + sigma**2 * torch.eye(2).double())
    log_prob = (components.log_prob(x[:, None]) + weights.log()).logsumexp(1)
    (expected,) = torch.autograd.grad(log_prob.sum(), x)
    found = mixture_score(x.detach(), centers=centers, weights=weights, covariances=covariances, sigma=sigma)
    assert torch.allclose(found, expected, rtol=1e-8, atol=1e-8)


def test_modes_are_carried_to_model_space() -> None:
    evaluation = evaluate(Normals())
    modes = evaluation.model_space_modes()
    assert modes is not None
    train = Normals().splits.train.double()
    assert torch.allclose(modes.centers, (Normals.centers - train.mean(0)) / train.std(0))
    assert torch.allclose(modes.covariances[1], torch.diag((Normals.scale / train.std(0)) ** 2))


def test_the_true_score_has_no_error_and_a_constant_one_its_closed_form() -> None:
    config = ScoreError.Config(n=50, levels=40, sigma_min=0.1, sigma_max=5.0)
    exact, far = ScoreError(config).compute(evaluate(Normals(), knows=True))
    assert exact.value == pytest.approx(0, abs=1e-3), "single precision"
    assert exact.floor == 0
    assert not far.ranks
    off, off_far = ScoreError(config).compute(evaluate(Normals(), 0.3, knows=True))
    squared = 2 * 0.3**2  # of two coordinates
    assert off.details["fisher_near"] == pytest.approx([squared / 2] * 40, rel=1e-3)
    assert off.details["fisher_far"] == pytest.approx([squared / 2] * 40, rel=0.05)
    closed_form = squared * (5**2 - 0.1**2) / 2  # the integral of sigma^2 over ln(sigma)
    assert off.value == pytest.approx(closed_form, rel=0.01)
    assert off_far.value == pytest.approx(closed_form, rel=0.01)
    assert off.unit == "nats"


def test_the_score_error_of_a_shifted_gaussian_bounds_its_divergence() -> None:
    """For N(0, I) taken for N(m, I): |s - s*| = |m| / (1 + sigma^2); the integral up to infinity is KL = |m|^2 / 2."""
    sigmas = np.geomspace(1e-3, 1e3, 400)
    m = 1.7
    squared = np.full((400, 1), m**2) / (1 + sigmas[:, None] ** 2) ** 2
    found = log_sigma_integral(squared * sigmas[:, None] ** 2, sigmas)
    assert found == pytest.approx(m**2 / 2, rel=1e-3)


def test_models_and_distributions_without_a_score_are_unsupported() -> None:
    with pytest.raises(trilemma.UnsupportedError, match="no score"):
        ScoreError().compute(evaluate(Normals()))
    with pytest.raises(trilemma.UnsupportedError, match="not known"):
        ScoreError().compute(evaluate(Images()))


# Frechet


def test_feature_distances_are_closed_forms() -> None:
    pytest.importorskip("torchmetrics")
    rng = np.random.default_rng(7)
    real, generated = rng.standard_normal((400, 3)), 1 + 2 * rng.standard_normal((400, 3))
    state = torch.get_rng_state()
    frechet, kernel = feature_distances(real=real, generated=generated)
    assert torch.equal(state, torch.get_rng_state()), "the global generator is left alone"
    means = ((real.mean(0) - generated.mean(0)) ** 2).sum()
    one, two = np.cov(real.T), np.cov(generated.T)
    root = np.sqrt(np.linalg.eigvals(one @ two).real).sum()
    assert frechet == pytest.approx(means + np.trace(one) + np.trace(two) - 2 * root, rel=1e-6)

    def cubic(a: Array, b: Array) -> Array:
        return (a @ b.T / 3 + 1) ** 3

    n = len(real)
    within = sum((cubic(x, x).sum() - np.trace(cubic(x, x))) / (n * (n - 1)) for x in (real, generated))
    assert kernel == pytest.approx(within - 2 * cubic(real, generated).mean(), rel=1e-3)


@pytest.fixture(scope="module")
def encoder_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 4)).eval()
    with torch.no_grad():
        network[1].weight.copy_(torch.linspace(-1, 1, 64).reshape(4, 16).sin())
    batch = torch.export.Dim("batch", min=2)
    program = torch.export.export(network, (torch.zeros(4, 1, 4, 4),), dynamic_shapes=({0: batch},))
    file = tmp_path_factory.mktemp("encoder") / "linear.pt2"
    torch.export.save(program, file)
    return file


def test_the_frechet_distance_under_a_given_encoder(encoder_file: Path) -> None:
    pytest.importorskip("torchmetrics")
    config = Frechet.Config(n=130, draws=2, encoder="exported", weights=str(encoder_file))
    found = {r.metric: r for r in Frechet(config).compute(evaluate(Images()))}
    assert set(found) == {"frechet", "frechet_excess", "kernel_distance"}
    for result in found.values():
        assert result.details["encoder"] == "exported:linear"
        assert result.details["encoder_sha256"] == hashlib.sha256(encoder_file.read_bytes()).hexdigest()
        assert result.ci_low is not None
        assert result.floor is not None
    assert found["frechet"].value == found["frechet"].details["P"], "already a squared distance: no root is taken"


def test_an_encoder_is_never_downloaded_and_must_be_readable(tmp_path: Path) -> None:
    with pytest.raises(trilemma.UnsupportedError, match="set `weights`"):
        Frechet().compute(evaluate(Images()))
    with pytest.raises(trilemma.UnsupportedError, match="no images"):
        Frechet().compute(evaluate(Normals()))
    with pytest.raises(trilemma.DataError, match="no file"):
        load_encoder("exported", str(tmp_path / "none.pt2"))
    junk = tmp_path / "junk.pt2"
    junk.write_bytes(b"junk")
    with pytest.raises(trilemma.DataError, match="holds no exported encoder"):
        load_encoder("exported", str(junk))
