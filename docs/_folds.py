"""Where the Jacobian of a few steps of `distilled-flow-map` has too much mass on `ring8`.

    python docs/_folds.py runs/few-steps

prints, for the training with seed 0, the mass in the square of twice the radius of the ring, and the shares of
its excess over the true density by the distance to the nearest mode and by whether a step reverses the orientation.
"""

from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor

import trilemma
from trilemma.plugins.flow_maps.likelihoods import standard_normal_log_prob, times_of
from trilemma.plugins.flow_maps.networks import MapNetwork
from trilemma.plugins.flow_maps.objectives import jump

SIDE = 120
"""Cells along each side of the square. One point is drawn in each, so that sums over cells are unbiased."""
DISTANCES = (0.0, 3.0, 4.0, 10.0, float("inf"))
"""Limits of the distance to the nearest mode, in standard deviations of the mode."""


def steps_back(v: MapNetwork, x: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """log N(z) + log|det dz/dx| `(n,)`, and whether one of the steps from data to noise reverses the orientation."""
    total, reverses = x.new_zeros(len(x)), torch.zeros(len(x), dtype=torch.bool)
    for s, t in pairwise(times_of(steps, 1.0, 0.0, x)):
        x = x.detach().requires_grad_()
        end = jump(v, x, s, t)
        rows = [torch.autograd.grad(end[:, i].sum(), x, retain_graph=True)[0] for i in range(x.shape[1])]
        sign, log_det = torch.linalg.slogdet(torch.stack(rows, dim=1))
        total, reverses, x = total + log_det, reverses | (sign < 0), end.detach()
    return standard_normal_log_prob(x) + total, reverses


def main() -> None:
    """Read the command line and print the shares."""
    parser = argparse.ArgumentParser(description="Print where the Jacobian of few steps has too much mass.")
    parser.add_argument("run", type=Path, help="run directory of few-steps")
    parser.add_argument("--steps", type=int, default=8, help="number of steps")
    asked = parser.parse_args()
    trained = trilemma.load_model(asked.run, "distilled-flow-map", dataset="ring8", seed=0)
    prepared = trained._restored.prepared
    modes, model = prepared.dataset.modes(), trained.model
    reach = 2 * float(modes.centers.norm(dim=1).max())
    cells = torch.cartesian_prod(*[torch.arange(SIDE, dtype=torch.float64)] * 2)
    jitter = torch.rand(cells.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = (2 * (cells + jitter) / SIDE - 1) * reach
    y, log_volume = prepared.space.to_model(x)
    log_q, reverses = steps_back(model.map, y.float(), asked.steps)
    volume = (2 * reach / SIDE) ** 2
    q = volume * (log_q.double() + log_volume).exp()
    excess = q - volume * prepared.dataset.log_prob(x).exp()
    spread = float(modes.covariances[0, 0, 0].sqrt())
    nearest = torch.cdist(x, modes.centers.double()).min(1).values / spread
    print(f"mass {float(q.sum()):.3f}, excess {float(excess.sum()):.3f}")
    for low, high in pairwise(DISTANCES):
        told(f"{low:g} to {high:g} deviations from the nearest mode", excess, (nearest >= low) & (nearest < high))
    told("where a step reverses the orientation", excess, reverses)


def told(what: str, excess: Tensor, chosen: Tensor) -> None:
    """Print the share of the excess at the chosen points."""
    print(f"{float(excess[chosen].sum() / excess.sum()):.2f} of it {what}")


if __name__ == "__main__":
    main()
