"""Every registered flow: round trips, Jacobians, mass, far points, state, cost; against autograd, grids and zuko."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import trilemma
from trilemma.harness.evaluation.cost import NfeCounter
from trilemma.plugins.flows import FLOWS
from trilemma.plugins.flows.base import StandardNormal
from trilemma.plugins.flows.coupling import Couplings
from trilemma.plugins.flows.flow import Flow
from trilemma.plugins.flows.fused import FusedCouplings
from trilemma.plugins.flows.fused_maps import fused_affine, fused_rational_quadratic
from trilemma.plugins.flows.gaussianize import gaussianizing_spline
from trilemma.plugins.flows.maf import IAF, MAF
from trilemma.plugins.flows.rad import Fold
from trilemma.plugins.flows.spline import rational_quadratic

BY_NAME = {model.name: model for model in FLOWS}
EXACT = [model.name for model in FLOWS if model.likelihood == "exact"]
INVERTIBLE = [name for name in EXACT if name != "rad"]
PLANE = [model.name for model in FLOWS if "vector" in model.accepts]


def info(name: str, d: int = 2) -> trilemma.DataInfo:
    if "vector" in BY_NAME[name].accepts:
        return trilemma.DataInfo(name="toy", kind="vector", shape=(d,), n_train=20_000)
    return trilemma.DataInfo(name="toy", kind="image", shape=(1, 4, 4), n_train=20_000, levels=17)


def context(name: str, d: int = 2, seed: int = 0, **fields: object) -> trilemma.Context:
    model = BY_NAME[name]
    return trilemma.Context(
        info=info(name, d),
        device=torch.device("cpu"),
        generator=torch.Generator().manual_seed(seed),
        sampler=model.samplers[0](),
        likelihood=model.Likelihood(),
        **fields,  # type: ignore[arg-type]
    )


def blobs(n: int, seed: int, shape: tuple[int, ...] = (2,)) -> Tensor:
    """Two Gaussians whose centers lie on the diagonal."""
    generator = torch.Generator().manual_seed(seed)
    side = 2.0 * torch.randint(2, (n, *[1] * len(shape)), generator=generator) - 1
    return 0.9 * side + 0.45 * torch.randn((n, *shape), generator=generator)


@cache
def trained(name: str) -> trilemma.NeuralModel:
    """The model at its defaults after a few steps on two blobs."""
    model, shape = BY_NAME[name](), info(name).shape
    steps = 25 if name == "glow-multiscale" else 50
    ctx = context(name, valid=trilemma.Split(blobs(500, 2, shape)), clock=trilemma.Clock(trilemma.Budget(steps=steps)))
    ctx.recipe = model.recipe.model_copy(update={"batch_size": 128 if len(shape) == 1 else 32, "validations": 2})
    model.fit(trilemma.Split(blobs(4_000, 1, shape)), ctx)
    return model


def random_flow(name: str, d: int, dtype: torch.dtype) -> Flow:
    """The model's flow with weights that are zero at the start drawn at random, so that no layer is the identity."""
    torch.manual_seed(0)
    model = BY_NAME[name]()
    model.build(info(name, d))
    # At random weights conditioners on images enlarge an error of rounding from layer to layer, more than trained ones:
    # after a minute of training a round trip of digits is exact to 1e-5.
    scale = 0.1 if "image" in model.accepts else 0.2
    for parameter in model.parameters():
        if not parameter.any():
            inputs = parameter[0].numel() if parameter.ndim > 1 else 64
            if parameter.ndim == 3:  # the stacked weights and biases of an MLP
                inputs = parameter.shape[2] if parameter.shape[2] > 1 else 64
            nn.init.normal_(parameter, std=scale / inputs**0.5)
    model.eval().to(dtype)
    assert isinstance(model.flow, Flow)
    return model.flow


def test_the_whole_family_is_registered() -> None:
    expected = (
        "planar radial sylvester nice realnvp glow glow-multiscale maf iaf nsf-coupling nsf-autoregressive rad cnf"
    )
    assert list(BY_NAME) == expected.split()
    assert {model.likelihood for model in FLOWS} == {"exact", "ode"}
    assert all(field.description for model in FLOWS for field in model.Config.model_fields.values())


@pytest.mark.parametrize("d", [2, 5])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 5e-5), (torch.float64, 1e-12)], ids=["32", "64"])
@pytest.mark.parametrize("name", INVERTIBLE)
def test_round_trip(name: str, d: int, dtype: torch.dtype, tolerance: float) -> None:
    flow = random_flow(name, d, dtype)
    x = torch.randn((300, *info(name, d).shape), generator=torch.Generator().manual_seed(1), dtype=dtype)
    with torch.no_grad():
        z, logdet = flow(x)
        back, back_logdet = flow.inverse(z)
    assert (z.flatten() - x.flatten()).abs().max() > 0.1
    assert (back - x).abs().max() <= tolerance
    torch.testing.assert_close(back_logdet, -logdet, atol=50 * tolerance, rtol=0)


@pytest.mark.parametrize("name", INVERTIBLE)
def test_log_determinant_agrees_with_autograd(name: str) -> None:
    flow = random_flow(name, 3, torch.float64)
    x = torch.randn((4, *info(name, 3).shape), generator=torch.Generator().manual_seed(2), dtype=torch.float64)

    def flat(p: Tensor) -> Tensor:
        return flow(p.reshape(1, *x.shape[1:]))[0].flatten()

    jacobians = torch.stack([torch.autograd.functional.jacobian(flat, p.flatten()) for p in x])
    torch.testing.assert_close(flow(x)[1], torch.linalg.slogdet(jacobians).logabsdet, atol=1e-7, rtol=1e-7)


@pytest.mark.parametrize("name", INVERTIBLE)
def test_trained_round_trip_in_single_precision(name: str) -> None:
    flow = trained(name).flow
    assert isinstance(flow, Flow)
    x = blobs(500, 4, info(name).shape)
    with torch.no_grad():
        assert (flow.inverse(flow(x)[0])[0] - x).abs().max() <= 5e-5


@pytest.mark.parametrize("name", [model.name for model in FLOWS])
def test_far_points_have_finite_densities(name: str) -> None:
    shape = info(name).shape
    x = torch.randn((50, *shape), generator=torch.Generator().manual_seed(4)).flatten(1)
    directions = nn.functional.normalize(x, dim=1).reshape(-1, *shape)
    for radius in (20.0, 1e3):
        values = trained(name).log_prob(radius * directions, context(name))
        assert torch.isfinite(values).all()
        assert (values < -20).all()


def double(name: str) -> trilemma.NeuralModel:
    """The trained model in double precision."""
    return copy.deepcopy(trained(name)).double()


def grid_density(name: str, side: float, points: int) -> Tensor:
    """Mass of the trained model in the cells of a grid over [-side, side]^2, `(points, points)`, midpoint rule."""
    step = 2 * side / points
    axis = -side + step * (torch.arange(points, dtype=torch.float64) + 0.5)
    model, grid = double(name), torch.cartesian_prod(axis, axis)
    values = torch.cat([model.log_prob(part, context(name)) for part in grid.split(20_000)])
    assert values.dtype == torch.float64
    return values.exp().reshape(points, points) * step**2


@pytest.mark.parametrize("name", [name for name in PLANE if BY_NAME[name].likelihood in ("exact", "ode")])
def test_density_has_unit_mass(name: str) -> None:
    mass = grid_density(name, 8.0, {"cnf": 80, "nsf-coupling": 960, "nsf-autoregressive": 960}.get(name, 320)).sum()
    assert float(mass) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("name", [name for name in PLANE if name in EXACT])
def test_samples_follow_the_density(name: str) -> None:
    n, side, cells = 20_000, 3.0, 12
    x = trained(name).sample(n, context(name, seed=8))
    edges = torch.linspace(-side, side, cells + 1)
    counts = torch.histogramdd(x, [edges, edges])[0].double()
    fine = grid_density(name, side, 20 * cells)
    expected = n * fine.reshape(cells, 20, cells, 20).sum((1, 3))
    filled = expected >= 5
    degrees = int(filled.sum())
    chi_square = float(((counts - expected).square() / expected)[filled].sum())
    assert degrees > 40
    assert abs(chi_square - degrees) < 5 * (2 * degrees) ** 0.5


@pytest.mark.parametrize("name", EXACT)
def test_a_draw_comes_with_its_own_density(name: str) -> None:
    flow = trained(name).flow
    with torch.no_grad():
        x, log_q = flow.sample(200, torch.Generator().manual_seed(0))  # type: ignore[union-attr, operator]
    torch.testing.assert_close(log_q, trained(name).log_prob(x, context(name)), atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize("name", PLANE)
def test_training_beats_a_gaussian(name: str) -> None:
    if name in ("radial", "planar", "sylvester"):
        pytest.skip("needs more steps than this; see the slow test")
    x, model = blobs(4_000, 3), trained(name)
    gaussian = torch.distributions.MultivariateNormal(x.mean(0), x.T.cov())
    assert model.log_prob(x, context(name)).mean() > gaussian.log_prob(x).mean() + 0.02


def peaks(n: int, seed: int) -> Tensor:
    """Two coordinates that are sharp: five peaks far apart, and two unequal ones."""
    generator = torch.Generator().manual_seed(seed)
    first = torch.randint(5, (n,), generator=generator) - 2.0
    second = (torch.rand(n, generator=generator) < 0.2).float()
    return 0.7 * torch.stack([first, 2 * second - 0.4], 1) + 0.02 * torch.randn((n, 2), generator=generator)


@pytest.mark.parametrize("bins", [16, 48])
def test_a_gaussianizing_spline_makes_marginals_normal(bins: int) -> None:
    params = gaussianizing_spline(peaks(4_096, 1), bins, 4.0)
    assert params.shape == (3 * bins - 1, 2)
    x = peaks(4_000, 2)
    y, log_slopes = rational_quadratic(bins, 4.0).forward(params.unsqueeze(2).expand(-1, -1, len(x)), x.T)
    gain = (log_slopes - 0.5 * y.square() + 0.5 * x.T.square()).mean(1)  # over N(0, I) as it is
    assert (gain > 2).all()
    quantiles = torch.distributions.Normal(0, 1).cdf(y)
    grid = torch.linspace(0.05, 0.95, 19)
    torch.testing.assert_close(quantiles.quantile(grid, dim=1).T, grid.expand(2, -1), atol=0.06, rtol=0)


@pytest.mark.parametrize("points", [torch.zeros(512, 2), torch.randn(2, 2), 1e4 * torch.randn(300, 3)])
def test_a_gaussianizing_spline_of_odd_points_is_finite(points: Tensor) -> None:
    params = gaussianizing_spline(points, 8, 4.0)
    y, log_slopes = rational_quadratic(8, 4.0).forward(params.unsqueeze(2).expand(-1, -1, len(points)), points.T)
    assert torch.isfinite(y).all()
    assert torch.isfinite(log_slopes).all()


@pytest.mark.parametrize("name", [model.name for model in FLOWS])
def test_state_restores_the_model(name: str) -> None:
    model = trained(name)
    state = model.state()
    assert state is not None
    torch.manual_seed(99)
    other = BY_NAME[name]()
    other.prepare(info(name))
    other.load_state(state)
    other.eval()
    x = blobs(20, 6, info(name).shape)
    assert torch.equal(model.log_prob(x, context(name)), other.log_prob(x, context(name)))
    assert torch.equal(model.sample(5, context(name)), other.sample(5, context(name)))


@pytest.mark.parametrize(
    ("name", "sampling", "density"),
    [
        ("realnvp", 1, 1),
        ("nsf-coupling", 1, 1),
        ("maf", 5, 1),
        ("nsf-autoregressive", 5, 1),
        ("iaf", 1, 5),
        ("cnf", 40, 80),
        ("planar", None, None),
    ],
)
def test_network_evaluations_are_counted(name: str, sampling: int | None, density: int | None) -> None:
    torch.manual_seed(0)
    model = BY_NAME[name]()
    model.build(info(name, 5))
    model.eval()
    for call, expected in (
        (lambda: model.sample(7, context(name, 5)), sampling),
        (lambda: model.log_prob(torch.zeros(7, 5), context(name, 5)), density),
    ):
        counter = NfeCounter()
        with counter.attached(model.networks()):
            call()
        assert counter.per_sample(7) == expected


@pytest.mark.slow
def test_cost_tables_show_one_pass_and_one_pass_per_coordinate(tmp_path: Path) -> None:
    suite = {
        "name": "passes",
        "budget": {"steps": 2},
        "datasets": [{"name": "funnel", "config": {"n_train": 200, "n_valid": 50, "n_test": 50}}],
        "models": [{"name": "maf"}, {"name": "iaf"}],
        "metrics": {"sampling_cost": {"batch": 10, "seconds": 0.01}},
    }
    frame = trilemma.run(suite, out=tmp_path, jobs=1)
    nfe = frame[frame.metric == "nfe"].set_index("model").value
    assert dict(nfe) == {"maf": 10, "iaf": 1}


# RAD: its folds are three to one


def random_fold(d: int = 3) -> Fold:
    torch.manual_seed(0)
    fold = Fold(d, 1, (16,)).double()
    for parameter in fold.gate.parameters():
        nn.init.normal_(parameter, std=0.5)
    fold.log_slope.data.fill_(0.4)
    return fold


@torch.no_grad()
def test_every_piece_of_a_fold_inverts() -> None:
    fold, edge = random_fold(), math.exp(-1.0)
    x = 1.5 * torch.randn(2_000, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    z, share = fold(x)
    found = torch.zeros(len(x), dtype=torch.bool)
    for seed in range(60):
        back, drawn = fold.draw(z, torch.Generator().manual_seed(seed))
        again, share_again = fold(back)
        torch.testing.assert_close(again, z, atol=1e-12, rtol=0)
        torch.testing.assert_close(share_again, drawn, atol=1e-12, rtol=0)
        same = (back - x).abs().amax(1) <= 1e-12
        torch.testing.assert_close(drawn[same], share[same], atol=1e-12, rtol=0)
        found |= same
    pieces = torch.stack([x[:, 1] < -edge, x[:, 1].abs() <= edge, x[:, 1] > edge])
    assert (pieces.sum(1) > 100).all()
    assert found[
        share > math.log(0.3)
    ].all()  # what comes with probability 0.2 fails to come 60 times by 2 in a million


def test_shares_of_the_pieces_add_up_to_one() -> None:
    fold, edge, slope = random_fold(), math.exp(-1.0), math.exp(0.4)
    z = torch.randn(400, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    line = z[:, 1]
    total, shares = torch.zeros(len(z), dtype=torch.float64), []
    for preimage, holds in (
        (line - edge * (1 + slope), line <= edge * slope),
        (-line / slope, line.abs() <= edge * slope),
        (line + edge * (1 + slope), line >= -edge * slope),
    ):
        x = torch.stack([z[:, 0], preimage, z[:, 2]], 1).requires_grad_()
        image, density = fold(x)
        torch.testing.assert_close(image[holds], z[holds])
        (gradient,) = torch.autograd.grad(image[:, 1].sum(), x)
        share = (density - gradient[:, 1].abs().log()).exp() * holds
        shares.append(share.detach())
        total = total + share.detach()
    torch.testing.assert_close(total, torch.ones_like(total), atol=1e-9, rtol=0)
    inside = line.abs() < 0.8 * edge * slope
    assert inside.sum() > 50
    assert all((share[inside] > 1e-3).all() for share in shares)


def test_a_fold_draws_pieces_by_their_shares() -> None:
    fold = random_fold()
    z = torch.tensor([[0.3, 0.2, -0.5]], dtype=torch.float64).expand(20_000, 3)
    with torch.no_grad():
        x, _ = fold.draw(z, torch.Generator().manual_seed(3))
        lines, counts = x[:, 1].unique(return_counts=True)
        drawn = torch.stack([z[:3, 0], lines, z[:3, 2]], 1)
        expected = (fold(drawn)[1] - torch.tensor([0.0, 0.4, 0.0], dtype=torch.float64)).exp()
    torch.testing.assert_close(counts / 20_000, expected.float(), atol=0.015, rtol=0)


# Objectives


class Blob:
    """A Gaussian with a known density, up to a constant that no objective may depend on."""

    mean = torch.tensor([0.7, -0.4])
    scale = torch.tensor([0.5, 1.2])

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        return self.mean + self.scale * torch.randn((n, 2), generator=generator)

    def log_prob(self, x: Tensor) -> Tensor:
        return 17.0 - 0.5 * ((x - self.mean) / self.scale).square().sum(1)


@pytest.mark.parametrize("name", ["iaf", "realnvp", "planar", "radial", "sylvester", "nsf-coupling"])
@pytest.mark.parametrize("objective", ["reverse-kl", "regularized"])
def test_reverse_kl_trains_against_a_density(name: str, objective: str) -> None:
    kind, distribution = BY_NAME[name], Blob()
    model = kind(kind.Config(objective=objective, transforms=4, reverse_kl_weight=1.0))
    assert model.needs_truth
    assert not kind().needs_truth
    generator = torch.Generator().manual_seed(1)
    ctx = context(name, truth=distribution, clock=trilemma.Clock(trilemma.Budget(steps=40)))
    ctx.recipe = kind.recipe.model_copy(update={"batch_size": 128, "lr": 0.02})
    points = distribution.sample(2_000, generator) if objective == "regularized" else torch.zeros(2_000, 2)
    model.fit(trilemma.Split(points), ctx)
    with torch.no_grad():
        z = torch.randn(2_000, 2, generator=generator)
        before = (StandardNormal((2,)).log_prob(z) - distribution.log_prob(z)).mean()
        after = model.reverse_kl(2_000, ctx)
    floor = -17 - math.log(2 * math.pi) - math.log(0.5 * 1.2)
    left = 0.5 if name != "radial" else 0.7  # layers that are symmetric about a point come less close
    assert floor - 0.05 < after < floor + left * (before - floor)


def test_the_reverse_kl_needs_a_distribution_and_a_plain_base() -> None:
    model = MAF(MAF.Config(objective="reverse-kl"))
    model.build(info("maf"))
    with pytest.raises(trilemma.UnsupportedError, match="known density"):
        model.loss(torch.zeros(4, 2), context("maf"))
    with pytest.raises(ValueError, match="base_components"):
        MAF.Config(objective="reverse-kl", base_components=3)
    with pytest.raises(ValueError, match="not differentiable"):
        BY_NAME["rad"].Config(objective="regularized")


def test_a_mixture_base_trains_and_integrates_to_one() -> None:
    model = IAF(IAF.Config(base_components=4, transforms=2))
    ctx = context("iaf", clock=trilemma.Clock(trilemma.Budget(steps=20)), valid=trilemma.Split(blobs(100, 2)))
    model.fit(trilemma.Split(blobs(2_000, 1)), ctx)
    axis = -8 + 0.1 * (torch.arange(160) + 0.5)
    mass = model.log_prob(torch.cartesian_prod(axis, axis), ctx).double().exp().sum() * 0.1**2
    assert float(mass) == pytest.approx(1, abs=2e-3)
    assert torch.isfinite(model.sample(100, ctx)).all()


class TwoMoons:
    """The first energy of Rezende & Mohamed 2015, table 1, as a distribution without its constant."""

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        raise NotImplementedError

    def log_prob(self, x: Tensor) -> Tensor:
        ridge = -0.5 * ((torch.linalg.vector_norm(x, dim=1) - 2) / 0.4).square()
        return ridge + torch.logaddexp(*(-0.5 * ((x[:, 0] - side) / 0.6).square() for side in (-2, 2)))


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["likelihood", "reverse-kl"])
def test_planar_flows_improve_with_depth(objective: str) -> None:
    losses = []
    steps = (
        4_000 if objective == "reverse-kl" else 1_500
    )  # a flow finds the distribution's second mode late, a short one never
    for depth in (2, 8, 32):
        kind = BY_NAME["planar"]
        model = kind(kind.Config(transforms=depth, objective=objective))
        ctx = context("planar", clock=trilemma.Clock(trilemma.Budget(steps=steps)), truth=TwoMoons())
        ctx.recipe = kind.recipe
        if objective == "likelihood":
            ctx.valid = trilemma.Split(ring(1_000, 2))
        model.fit(trilemma.Split(ring(20_000, 1)), ctx)
        with torch.no_grad():
            loss = model.reverse_kl(4_000, ctx) if objective == "reverse-kl" else -model.log_prob(ring(4_000, 3), ctx)
        losses.append(float(loss.mean()))
    assert losses[0] > losses[1] + 0.05 > losses[2] + 0.1


def ring(n: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    angle = torch.randint(8, (n,), generator=generator) * math.pi / 4
    return 1.4 * torch.stack([angle.cos(), angle.sin()], 1) + 0.14 * torch.randn((n, 2), generator=generator)


# The same weights in zuko


def linear_layers(network: nn.Module) -> list[nn.Module]:
    return [layer for layer in network.modules() if isinstance(getattr(layer, "weight", None), nn.Parameter)]


def copy_mlp(width: int, layers: Iterable[Tensor], theirs: nn.Module) -> None:
    """Zuko orders the last layer's outputs by coordinate, then parameter; ours the other way round."""
    values = [layer.get_parameter(name).data for layer in linear_layers(theirs) for name in ("weight", "bias")]
    values[-2:] = [v.reshape(-1, width, *v.shape[1:]).transpose(0, 1).reshape(v.shape) for v in values[-2:]]
    for one, other in zip(layers, values, strict=True):
        one.detach().copy_(other.reshape(one.shape))


@pytest.mark.parametrize("spline", [False, True])
def test_couplings_equal_those_of_zuko(spline: bool) -> None:
    zuko = pytest.importorskip("zuko")
    torch.manual_seed(0)
    options = {"hidden_features": (16, 16), "activation": nn.ReLU}
    if spline:
        options |= {"univariate": zuko.transforms.MonotonicRQSTransform, "shapes": [(6,), (6,), (5,)]}
    theirs = zuko.flows.coupling.GeneralCouplingTransform(4, **options)
    elementwise = fused_rational_quadratic(6, 5.0) if spline else fused_affine(math.log(1e3))
    ours = Flow([FusedCouplings(4, 1, elementwise, (16, 16))], StandardNormal((4,)))
    (layer,) = ours.parts()
    assert isinstance(layer, Couplings)
    copy_mlp(elementwise.width, layer.stacked, theirs.hyper)
    kept = theirs.mask.nonzero()[:, 0]
    order = torch.cat([kept, (~theirs.mask).nonzero()[:, 0]])
    x = 2 * torch.randn(50, 4)
    z, logdet = ours(x[:, order])
    expected, expected_logdet = theirs().call_and_ladj(x)
    torch.testing.assert_close(z, expected[:, order], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(logdet, expected_logdet, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("spline", [False, True])
def test_autoregressive_layers_equal_those_of_zuko(spline: bool) -> None:
    zuko = pytest.importorskip("zuko")
    torch.manual_seed(0)
    options = {"transforms": 2, "hidden_features": (16, 16), "activation": nn.ReLU}
    theirs = zuko.flows.NSF(3, bins=6, **options) if spline else zuko.flows.MAF(3, **options)
    config = {"transforms": 2, "hidden": (16, 16), "octaves": 0}
    if spline:
        kind = BY_NAME["nsf-autoregressive"]
        model = kind(kind.Config(bins=6, bound=5.0, **config))
    else:
        model = MAF(MAF.Config(bound=math.log(1e3), **config))
    model.build(info("maf", 3))
    flow = model.flow
    assert isinstance(flow, Flow)
    for layer, transform in zip(flow.parts(), theirs.transform.transforms, strict=True):
        net = layer.conditioner
        copy_mlp(net.width, net.held, transform.hyper)  # type: ignore[arg-type, union-attr]
        linear = linear_layers(transform.hyper)
        for number, part in enumerate(linear):
            mask = part.mask.float()  # type: ignore[union-attr, operator]
            if number == len(linear) - 1:
                mask = mask.reshape(3, net.width, -1).transpose(0, 1).flatten(0, 1)  # type: ignore[arg-type, call-overload]
            net.register_buffer(f"mask{number}", mask)  # type: ignore[operator, union-attr]
    x = 2 * torch.randn(50, 3)
    torch.testing.assert_close(model.log_prob(x, context("maf", 3)), theirs().log_prob(x), atol=1e-5, rtol=1e-5)
