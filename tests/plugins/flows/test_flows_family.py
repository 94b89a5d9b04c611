"""Every registered flow: round trips, Jacobians, far points, state and cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import trilemma
from trilemma.harness.evaluation.calls import CallCounter
from trilemma.harness.evaluation.nfe import rows_of
from trilemma.harness.plugins import Registry
from trilemma.plugins.flows.flow import Flow

pytestmark = pytest.mark.usefixtures("unreported")

FLOWS = [cls for cls in Registry(builtin_only=True).classes("models").values() if ".plugins.flows." in cls.__module__]
INVERTIBLE = [model.name for model in FLOWS if model.likelihood == "exact" and model.name != "rad"]


def test_the_whole_family_is_registered(family: Any) -> None:
    expected = (
        "planar radial sylvester nice realnvp realnvp-multiscale glow glow-multiscale nsf-multiscale maf iaf "
        "nsf-coupling nsf-autoregressive rad cnf"
    )
    assert list(family.by_name) == expected.split()
    assert {model.likelihood for model in FLOWS} == {"exact", "ode"}
    assert all(field.description for model in FLOWS for field in model.Config.model_fields.values())


@pytest.mark.parametrize("d", [2, 5])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 5e-5), (torch.float64, 1e-12)], ids=["32", "64"])
@pytest.mark.parametrize("name", INVERTIBLE)
def test_round_trip(family: Any, name: str, d: int, dtype: torch.dtype, tolerance: float) -> None:
    flow = family.random_flow(name, d, dtype)
    x = torch.randn((300, *family.info(name, d).shape), generator=torch.Generator().manual_seed(1), dtype=dtype)
    with torch.no_grad():
        z, logdet = flow(x)
        back, back_logdet = flow.inverse(z)
    assert (z.flatten() - x.flatten()).abs().max() > 0.1
    if name == "radial":
        tolerance *= 10  # a layer with random parameters may contract by a factor of 1000, and its inverse expands
    assert (back - x).abs().max() <= tolerance
    torch.testing.assert_close(back_logdet, -logdet, atol=50 * tolerance, rtol=0)


@pytest.mark.parametrize("name", INVERTIBLE)
def test_log_determinant_agrees_with_autograd(family: Any, name: str) -> None:
    flow = family.random_flow(name, 3, torch.float64)
    x = torch.randn((4, *family.info(name, 3).shape), generator=torch.Generator().manual_seed(2), dtype=torch.float64)

    def flat(p: Tensor) -> Tensor:
        return flow(p.reshape(1, *x.shape[1:]))[0].flatten()

    jacobians = torch.stack([torch.autograd.functional.jacobian(flat, p.flatten()) for p in x])
    torch.testing.assert_close(flow(x)[1], torch.linalg.slogdet(jacobians).logabsdet, atol=1e-7, rtol=1e-7)


@pytest.mark.parametrize("name", INVERTIBLE)
def test_trained_round_trip_in_single_precision(family: Any, name: str) -> None:
    flow = family.trained(name).flow
    assert isinstance(flow, Flow)
    x = family.blobs(500, 4, family.info(name).shape)
    with torch.no_grad():
        assert (flow.inverse(flow(x)[0])[0] - x).abs().max() <= 5e-5


@pytest.mark.parametrize("name", [model.name for model in FLOWS])
def test_far_points_have_finite_densities(family: Any, name: str) -> None:
    shape = family.info(name).shape
    x = torch.randn((50, *shape), generator=torch.Generator().manual_seed(4)).flatten(1)
    directions = nn.functional.normalize(x, dim=1).reshape(-1, *shape)
    for radius in (20.0, 1e3):
        values = family.trained(name).log_prob(radius * directions, family.context(name))
        assert torch.isfinite(values).all()
        assert (values < -20).all()


@pytest.mark.parametrize("name", [model.name for model in FLOWS])
def test_state_restores_the_model(family: Any, name: str) -> None:
    model = family.trained(name)
    state = model.state()
    assert state is not None
    torch.manual_seed(99)
    other = family.by_name[name]()
    other.prepare(family.info(name))
    other.load_state(state)
    other.eval()
    x = family.blobs(20, 6, family.info(name).shape)
    assert torch.equal(model.log_prob(x, family.context(name)), other.log_prob(x, family.context(name)))
    assert torch.equal(model.sample(5, family.context(name)), other.sample(5, family.context(name)))


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
def test_network_evaluations_are_counted(family: Any, name: str, sampling: int | None, density: int | None) -> None:
    torch.manual_seed(0)
    model = family.by_name[name]()
    model.build(family.info(name, 5))
    model.eval()
    for call, expected in (
        (lambda: model.sample(7, family.context(name, 5)), sampling),
        (lambda: model.log_prob(torch.zeros(7, 5), family.context(name, 5)), density),
    ):
        with CallCounter(model.networks()).observed(7) as draw:
            call()
        rows = rows_of(draw, {}).values()
        assert max(rows, default=None) == (None if expected is None else 7 * expected)


@pytest.mark.slow
def test_cost_tables_show_one_pass_and_one_pass_per_coordinate(tmp_path: Path) -> None:
    suite = {
        "name": "passes",
        "budget": {"steps": 2},
        "datasets": [{"name": "funnel", "config": {"n_train": 200, "n_valid": 50, "n_test": 50}}],
        "models": [{"name": "maf"}, {"name": "iaf"}],
        "metrics": {"sampling_cost": {"batch": 10}},
    }
    frame = trilemma.run(suite, out=tmp_path, jobs=1)
    nfe = frame[frame.metric == "nfe"].set_index("model").value
    assert dict(nfe) == {"maf": 10, "iaf": 1}
