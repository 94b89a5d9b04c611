"""The folds of RAD: pieces, probabilities of the pieces, draws."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from trilemma.plugins.flows.rad import Fold


def random_fold(d: int = 3) -> Fold:
    torch.manual_seed(0)
    fold = Fold(d, 1, (16,)).double()
    for parameter in fold.gate.parameters():
        nn.init.normal_(parameter, std=0.5)
    fold.log_slope.data.fill_(0.4)
    return fold


def test_a_folds_preimages_share_the_mass_of_their_image(
    normal: Callable[..., Tensor], scatter: Callable[..., None]
) -> None:
    torch.manual_seed(0)
    fold = Fold(2, 0, (8,)).double()
    scatter(fold)
    x, _ = fold.draw(normal(4000, 2, scale=2.0), torch.Generator().manual_seed(0))
    z, density = fold(x)
    again, expected = fold.draw(z, torch.Generator().manual_seed(1))
    back, given = fold(again)
    torch.testing.assert_close(back, z, atol=1e-12, rtol=0)
    torch.testing.assert_close(given, expected, atol=1e-9, rtol=1e-9)
    changed = (again - x).abs().sum(1) > 1e-9
    assert 0.05 < changed.double().mean() < 0.95
    assert torch.isfinite(density).all()


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
    ].all()  # an event of probability 0.2 fails 60 times in a row with a probability of 2 in a million


def test_the_density_is_finite_at_the_ends_of_the_pieces_in_single_precision() -> None:
    """Rounding may put the image of an end out of the fold, where the piece of the point has probability 0."""
    fold = random_fold().float()
    end = torch.exp(torch.tensor(-1.0))
    steps = end * (1 + torch.arange(-50, 51) * torch.finfo(torch.float32).eps)
    x = torch.zeros(2, len(steps), 3)
    x[0, :, 1], x[1, :, 1] = steps, -steps
    x = x.flatten(0, 1)
    _, density = fold(x)
    assert torch.isfinite(density).all()
    density.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in fold.parameters() if p.grad is not None)
    assert density.max() < math.log(1e-4)  # the density of these pieces vanishes there: two of three pieces end


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
