"""Inverse heat dissipation: its bound and its sampler against a linear Gaussian case, and where it starts from."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

import trilemma
from trilemma.datasets.digits import Digits
from trilemma.plugins.cold_diffusion.end_state import PriorAlone
from trilemma.plugins.cold_diffusion.heat import HeatBlur, dct_matrix
from trilemma.plugins.cold_diffusion.inverse_heat import InverseHeat, ReverseHeat, ReverseOptions

SIDE = 4
SHAPE = (1, SIDE, SIDE)
NOISE = 0.1


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def context(n_train: int = 500, **fields: object) -> trilemma.Context:
    info = trilemma.DataInfo(name="toy", kind="image", shape=SHAPE, n_train=n_train)
    fields.setdefault("likelihood", InverseHeat.Likelihood())
    return trilemma.Context(info=info, device=torch.device("cpu"), generator=generator(3), **fields)  # type: ignore[arg-type]


def coefficients(x: Tensor) -> Tensor:
    """Cosine coefficients, flattened `(n, 16)`, float64."""
    matrix = dct_matrix(SIDE)
    return (matrix @ x.double() @ matrix.T).flatten(1)


class Linear(InverseHeat):
    """Data whose cosine coefficients are independent Gaussians, with the best mean and the true start: all closed."""

    name = "linear-heat"

    def build(self, info: trilemma.DataInfo) -> None:
        super().build(info)
        self.deviation.fill_(NOISE)
        self.variances = torch.linspace(2, 0.3, SIDE * SIDE, dtype=torch.float64)  # of the data's coefficients
        squared = HeatBlur(SIDE, SIDE).squared_frequency.flatten()
        self.damping = (-squared * self.widths().unsqueeze(1) ** 2 / 2).exp()  # (K + 1, 16)
        end = self.end_state
        end.weights.fill_(1)
        end.means.zero_()
        end.mean.zero_()
        matrix = torch.kron(dct_matrix(SIDE), dct_matrix(SIDE))
        end.basis.copy_(matrix)
        end.factors.copy_(torch.diag(self.end_variances().sqrt()))

    def end_variances(self) -> Tensor:
        return self.damping[-1] ** 2 * self.variances + NOISE**2

    def gain(self, k: int) -> Tensor:
        """E[coefficient of u_{k-1} | that of u_k] over that of u_k."""
        observed = self.damping[k] ** 2 * self.variances + NOISE**2
        return self.damping[k - 1] * self.damping[k] * self.variances / observed

    def mean(self, u: Tensor, k: Tensor) -> Tensor:
        matrix = dct_matrix(SIDE)
        scaled = (coefficients(u) * self.gain(int(k))).reshape(-1, *SHAPE)
        return (matrix.T @ scaled @ matrix).to(u)


@pytest.fixture
def linear() -> Linear:
    model = Linear(Linear.Config(steps=6, components=1, sigma_min=0.3, sigma_max=2.0))
    model.prepare(context().info)
    return model


def test_bound_is_the_sum_of_its_closed_form_terms(linear: Linear) -> None:
    options = ReverseOptions(start="mixture", delta=1.25)
    noise, delta, d = 0.1, 0.125, SIDE * SIDE
    one = torch.randn((1, *SHAPE), generator=generator(1))
    x, c = one.expand(40_000, *SHAPE), coefficients(one)[0]
    found = linear.bound(x, options, generator(2))

    def residual(k: int) -> float:
        gain = linear.gain(k)
        off = (gain * linear.damping[k] - linear.damping[k - 1]) * c
        return float((off**2 + gain**2 * noise**2).sum())

    steps = [residual(k) / (2 * delta**2) + d * (math.log(delta / noise) + noise**2 / (2 * delta**2) - 0.5)
             for k in range(2, 7)]  # fmt: skip
    assert float(found.diffusion.mean()) == pytest.approx(sum(steps), rel=0.01)
    last = residual(1) / (2 * delta**2) + d * math.log(delta * math.sqrt(2 * math.pi))
    assert float(found.reconstruction.mean()) == pytest.approx(last, rel=0.01)
    q = torch.distributions.Normal(linear.damping[-1] * c, noise)
    p = torch.distributions.Normal(torch.zeros(d, dtype=torch.float64), linear.end_variances().sqrt())
    assert float(found.prior.mean()) == pytest.approx(float(torch.distributions.kl_divergence(q, p).sum()), rel=0.01)


def marginal(model: Linear, delta: float) -> Tensor:
    """Variances of the coefficients of the model's samples."""
    variance = model.end_variances()
    for k in range(model.config.steps, 0, -1):
        variance = model.gain(k) ** 2 * variance + (delta**2 if k > 1 else 0.0)
    return variance


def test_bound_misses_the_density_of_the_model_by_the_divergence_of_its_posterior(linear: Linear) -> None:
    # Per coefficient, (u_0, ..., u_K) is jointly Gaussian: log p(u_0) - bound = KL(q(u_1:K | u_0) | p(u_1:K | u_0)).
    noise, delta, steps, n = 0.1, 0.125, linear.config.steps, 400
    x = linear.sample(n, context(sampler=ReverseHeat(start="mixture")))
    c = coefficients(x)
    exact, divergence = torch.zeros(n, dtype=torch.float64), torch.zeros(n, dtype=torch.float64)
    for j in range(SIDE * SIDE):
        gains = [float(linear.gain(k)[j]) for k in range(1, steps + 1)]
        # u = map (start, noises): row k of `down` holds what u_k is made of.
        down = torch.zeros((steps + 1, steps + 1), dtype=torch.float64)
        down[steps, steps] = linear.end_variances()[j].sqrt()
        for k in range(steps, 0, -1):
            down[k - 1] = gains[k - 1] * down[k]
            down[k - 1, k - 1] = delta
        joint = down @ down.T
        exact += torch.distributions.Normal(0.0, joint[0, 0].sqrt()).log_prob(c[:, j])  # type: ignore[no-untyped-call]
        posterior_mean = joint[1:, :1] / joint[0, 0] * c[:, j]
        posterior = joint[1:, 1:] - joint[1:, :1] @ joint[:1, 1:] / joint[0, 0]
        q_mean = linear.damping[1:, j : j + 1] * c[:, j]
        p = torch.distributions.MultivariateNormal(posterior_mean.T, posterior)
        q = torch.distributions.MultivariateNormal(q_mean.T, noise**2 * torch.eye(steps, dtype=torch.float64))
        divergence += torch.distributions.kl_divergence(q, p)
    ctx = context(likelihood=InverseHeat.Likelihood(start="mixture", draws=20))
    values = linear.log_prob(x, ctx)
    assert float(divergence.mean()) > 1
    torch.testing.assert_close(values, exact - divergence, atol=8.0, rtol=0)
    assert float(values.mean()) == pytest.approx(float((exact - divergence).mean()), abs=0.15)
    assert ctx.details["start"] == "mixture"
    assert sum(ctx.details["terms"].values()) == pytest.approx(-float(values.mean()), rel=1e-6)


def test_more_steps_loosen_the_bound_and_not_the_density_of_the_model() -> None:
    # The noise of latent images is drawn anew at each level. If it hides nothing, the best mean misses by the noise.
    delta, per_step = 1.25, math.log(1.25) + (1 + 1) / (2 * 1.25**2) - 0.5
    bounds: list[float] = []
    densities: list[float] = []
    for steps in (20, 40):
        model = Linear(Linear.Config(steps=steps, components=1, sigma_min=0.1, sigma_max=0.3))
        model.prepare(context().info)
        c = model.variances.sqrt() * torch.randn((4_000, SIDE * SIDE), generator=generator(1), dtype=torch.float64)
        matrix = dct_matrix(SIDE)
        x = matrix.T @ c.reshape(-1, *SHAPE) @ matrix
        bounds.append(float(model.bound(x, ReverseOptions(start="mixture", delta=delta), generator(2)).total.mean()))
        variance = marginal(model, 0.1 * delta) + (0.1 * delta) ** 2  # the last step has noise in the likelihood
        values = torch.distributions.Normal(0.0, variance.sqrt()).log_prob(c)  # type: ignore[no-untyped-call]
        densities.append(float(values.sum(1).mean()))
    assert densities[1] == pytest.approx(densities[0], abs=0.1)
    assert min(densities) > bounds[0] + 50
    assert (bounds[0] - bounds[1]) / (20 * SIDE * SIDE) == pytest.approx(per_step, rel=0.08)
    assert per_step > 0.5 * math.log(2)  # the least over all deviations of the generative noise


@pytest.mark.parametrize(("steps", "bound", "density"), [(40, 11.90, 2.95), (200, 48.06, 2.93)])
def test_bound_and_density_of_normal_data_with_the_covariance_of_digits(
    steps: int, bound: float, density: float
) -> None:
    # The figures of the docstring, by matrices of all pixels: the best linear means, and the chain of the model.
    noise, delta, d, eye = 0.01, 0.0125, 64, torch.eye(64, dtype=torch.float64)
    images = Digits().splits.train.double().flatten(1) / 17
    data = images.T.cov() + eye / 12 / 17**2  # with uniform noise within the levels
    model = InverseHeat(InverseHeat.Config(steps=steps))
    square = eye.reshape(d, 1, 8, 8)
    blurs = [HeatBlur(8, 8)(square, width).reshape(d, d) for width in model.widths()]
    variance = blurs[-1] @ data @ blurs[-1] + noise**2 * eye

    def cross_entropy(model: Tensor, data: Tensor) -> float:
        return 0.5 * float(d * math.log(2 * math.pi) + torch.logdet(model) + torch.linalg.solve(model, data).trace())

    total = cross_entropy(variance, variance) - d / 2 * math.log(2 * math.pi * math.e * noise**2)
    for k in range(steps, 0, -1):
        less, more = blurs[k - 1], blurs[k]
        gain = torch.linalg.solve(more @ data @ more + noise**2 * eye, more @ data @ less).T
        residual = float((less @ data @ less - gain @ more @ data @ less).trace())
        of_noise = math.log(delta / noise) + noise**2 / (2 * delta**2) - 0.5
        total += residual / (2 * delta**2) + d * (of_noise if k > 1 else math.log(delta * math.sqrt(2 * math.pi)))
        variance = gain @ variance @ gain.T + delta**2 * eye
    per_bit = d * math.log(2)
    assert total / per_bit + math.log2(17) == pytest.approx(bound, abs=0.03)
    assert cross_entropy(variance, data) / per_bit + math.log2(17) == pytest.approx(density, abs=0.02)


def test_reverse_process_has_the_marginals_of_its_steps(linear: Linear) -> None:
    for delta in (1.25, 0.5):
        x = linear.sample(20_000, context(sampler=ReverseHeat(start="mixture", delta=delta)))
        expected = marginal(linear, 0.1 * delta)
        torch.testing.assert_close(coefficients(x).var(0), expected, rtol=0.05, atol=0)


def small_fit(n_train: int, **options: object) -> tuple[InverseHeat, Tensor]:
    model = InverseHeat(InverseHeat.Config(steps=5, widths=(8, 8), sigma_max=2.0, components=2, **options))
    x = torch.rand((n_train, *SHAPE), generator=generator(1))
    clock = trilemma.Clock(trilemma.Budget(steps=4))
    recipe = InverseHeat.recipe.model_copy(update={"validations": 0})
    model.fit(trilemma.Split(x), context(n_train, clock=clock, recipe=recipe))
    return model, x


def test_it_starts_from_blurred_training_images() -> None:
    model, x = small_fit(60)
    blurred = HeatBlur(SIDE, SIDE)(x, torch.tensor(2.0)).flatten(1)
    starts = model.start(400, ReverseOptions(), generator()).flatten(1)
    nearest = torch.cdist(starts, blurred).amin(1)
    typical = 1.25 * model.config.noise * math.sqrt(SIDE * SIDE)
    assert float(nearest.max()) < 2 * typical
    assert float(nearest.mean()) > 0.5 * typical
    torch.testing.assert_close(
        model.sample(9, context(60, sampler=PriorAlone())), model.start(9, ReverseOptions(), generator(3))
    )
    kept, _ = small_fit(60, kept=20)
    assert len(kept.starts) == 20


def test_noise_is_that_of_the_paper_on_the_scale_of_intensities() -> None:
    x = 3 * torch.rand((40, *SHAPE), generator=generator(1)) - 1
    info = trilemma.DataInfo(name="toy", kind="image", shape=SHAPE, n_train=40, levels=17, support=(-1.0, 2.0))
    for known, width in ((info, 3.0), (context(40).info, float(x.max() - x.min()))):
        model = InverseHeat(InverseHeat.Config(widths=(8, 8), components=2))
        ctx = context(40)
        model.build(known)
        model.initialize(trilemma.Split(x), ctx)
        spread = (model.noisy(torch.zeros((4_000, *SHAPE)), generator())).std()
        assert float(spread) == pytest.approx(0.01 * width, rel=0.02)
        start = model.start(4_000, ReverseOptions(), generator()).flatten(1)
        centers = HeatBlur(SIDE, SIDE)(x, torch.tensor(4.0)).flatten(1)
        nearest = torch.cdist(start.double(), centers.double()).amin(1) / math.sqrt(SIDE * SIDE)
        assert float(nearest.mean()) == pytest.approx(0.0125 * width, rel=0.1)


def test_bounds_of_both_starts_are_proper_densities_of_the_start() -> None:
    model, _ = small_fit(60)
    for start in ("training", "mixture"):
        options = ReverseOptions(start=start)
        drawn = model.start(4_000, options, generator())
        own = model.start_log_prob(drawn, options)
        # E_p[q / p] = 1 for any density q: here p of twice the steps' deviation.
        wide = ReverseOptions(start=start, delta=1.4)
        ratio = (model.start_log_prob(drawn, wide) - own).exp()
        assert float(ratio.mean()) == pytest.approx(1, abs=0.3)
