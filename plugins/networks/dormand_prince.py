"""The adaptive Dormand-Prince method for ordinary differential equations, with a step size for each sample."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

import trilemma

from .points import per_point

MAX_ROUNDS = 20_000

# Dormand & Prince 1980: nodes, stages (the last row is the fifth-order solution), and fifth minus fourth order weights.
_NODES = (0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
_STAGES = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
_ERROR = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)


def rms(x: Tensor) -> Tensor:
    """The root mean square over the coordinates of each sample, shape `(n,)`."""
    return x.square().flatten(1).mean(1).sqrt()


def dormand_prince(
    field: Callable[..., Tensor],
    y: Tensor,
    start: float,
    end: float,
    *,
    rtol: float,
    atol: float,
    constants: Sequence[Tensor] = (),
) -> tuple[Tensor, Tensor]:
    """The Dormand-Prince method of order 5(4) for dy/dt = field(y, t), `t` of shape `(n,)`, from `start` to `end`.

    Returns the end points and the number of evaluations of each sample, `(n,)`. A sample that has reached the end is
    not evaluated again. `constants` holds tensors with a row for each sample, which the field gets as further
    arguments. The end points have gradients, for the accepted steps as they are; step sizes are constants.

    The error of a step is the rms of its error estimate divided by atol + rtol max(|y|, |y_next|). A step with an error
    of at most 1 is accepted. The step size is multiplied by .9 error^(-1/5), clipped to [.1, 10] (Hairer, Norsett &
    Wanner 1993, section II.4). Takes one evaluation at the start and six per step. Raises DivergedError if a sample has
    not reached the end after `MAX_ROUNDS` steps, or if values are not finite.
    """
    evaluations = torch.ones(len(y), dtype=torch.long, device=y.device)
    rows = torch.arange(len(y), device=y.device)
    ended: list[tuple[Tensor, Tensor]] = []
    t = torch.full((len(y),), start, dtype=torch.float64, device=y.device)
    h = torch.full_like(t, (end - start) / 20)
    first = field(y, t, *constants)
    for _ in range(MAX_ROUNDS):
        step = per_point(h, y)
        slopes = [first]
        for node, weights in zip(_NODES[1:], _STAGES, strict=True):
            increment = sum((w * k for w, k in zip(weights, slopes, strict=True) if w), torch.zeros_like(y))
            stage = y + step * increment
            slopes.append(field(stage, t + node * h, *constants))
        evaluations[rows] += len(_STAGES)
        with torch.no_grad():
            estimate = step * sum((w * k for w, k in zip(_ERROR, slopes, strict=True) if w), torch.zeros_like(y))
            error = rms(estimate / (atol + rtol * torch.maximum(y.abs(), stage.abs()))).double()
        check_finite(error, "the Dormand-Prince method")
        accepted = error <= 1
        t = torch.where(accepted, t + h, t)
        y = torch.where(per_point(accepted, y).bool(), stage, y)
        first = torch.where(per_point(accepted, y).bool(), slopes[-1], first)
        h = h * (0.9 * error.clamp_min(1e-10) ** -0.2).clamp(0.1, 10)
        h = torch.where((end - t).abs() < h.abs(), end - t, h)
        active = (end - t).abs() > 1e-12
        if not bool(active.all()):
            ended.append((rows[~active], y[~active]))
            if not bool(active.any()):
                order, values = (torch.cat(parts) for parts in zip(*ended, strict=True))
                return values[order.argsort()], evaluations
            rows, t, h, y, first = rows[active], t[active], h[active], y[active], first[active]
            constants = [values[active] for values in constants]
    raise trilemma.DivergedError(
        f"the Dormand-Prince method did not reach the end in {MAX_ROUNDS} steps: try larger tolerances rtol and atol"
    )


def check_finite(error: Tensor, solver: str) -> None:
    """Raise DivergedError if an error is not finite: no smaller step repairs values that are not finite."""
    if not bool(error.isfinite().all()):
        raise trilemma.DivergedError(f"{solver} met values that are not finite: the network or the samples diverged")


def record_evaluations(ctx: trilemma.Context, evaluations: Tensor) -> None:
    """Write into the details the mean and the largest number of evaluations over all samples drawn in this context."""
    drawn = ctx.details.get("drawn", 0)
    total = drawn + len(evaluations)
    mean = ctx.details.get("nfe_mean", 0.0) * drawn / total + float(evaluations.double().sum()) / total
    largest = max(ctx.details.get("nfe_max", 0), int(evaluations.max()))
    ctx.details.update(drawn=total, nfe_mean=mean, nfe_max=largest)
