"""Samplers over the time of a diffusion, with their options: by the reverse-time SDE, and ancestral sampling."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor

import trilemma

from ..networks.dormand_prince import record_evaluations
from ..networks.points import per_point
from .adaptive import gotta_go_fast
from .denoiser import Denoiser, DenoiserSampler, Show, to_variance_exploding, unseen
from .ode import ddim
from .schedules import Diffusion
from .sde import StepRule, Update, euler_maruyama_step, predictor_corrector, reverse_diffusion_step


def start(noise: Tensor, diffusion: Diffusion) -> Tensor:
    """The state at time 1, made from standard normal `noise`: a normal with the variance of the marginal.

    The variance is computed for data of unit variance.
    """
    one = torch.ones((), dtype=torch.float64)
    return to_variance_exploding(noise, diffusion.sigma(one)) * diffusion.alpha(one).to(noise)


class TimeGrid(trilemma.Config):
    """Options of a sampler over evenly spaced times of the diffusion, from 1 to eps."""

    steps: int = Field(100, ge=1, description="number of steps from time 1 down to eps")
    eps: float = Field(
        1e-3, gt=0, lt=1, description="time at which sampling stops, not before the smallest time in training"
    )
    denoise: bool = Field(True, description="whether a last step removes the remaining noise (one more evaluation)")

    def solve(
        self,
        denoise: Denoiser,
        noise: Tensor,
        diffusion: Diffusion,
        generator: torch.Generator,
        predictor: Update | None,
        *,
        corrector_steps: int = 0,
        snr: float = 0.16,
        rule: StepRule = "snr",
        show: Show = unseen,
    ) -> Tensor:
        """Turn `noise` into samples by `predictor_corrector` over the times, with a last step if `denoise` is set."""
        last = diffusion.earliest_of(self.eps)
        x = predictor_corrector(
            denoise,
            start(noise, diffusion),
            diffusion,
            torch.linspace(1, last, self.steps + 1, dtype=torch.float64),
            generator,
            predictor=predictor,
            corrector_steps=corrector_steps,
            snr=snr,
            rule=rule,
            show=show,
        )
        eps = torch.tensor(last, dtype=torch.float64)
        x = x / diffusion.alpha(eps).to(x)
        if self.denoise:
            x = denoise(x, diffusion.sigma(eps).to(x))
            show(self.steps + 1, x)
        return x


class EulerMaruyama(TimeGrid, DenoiserSampler):
    """Euler-Maruyama steps of the reverse-time SDE, evenly spaced in time (Song et al. 2021, section 3).

    Deviations: it starts from the marginal at time 1 of data with variance 1, not from the prior of the SDE, and a last
    evaluation denoises unless `denoise` is false.
    """

    name = "euler-maruyama"

    def draw(self, denoise: Denoiser, noise: Tensor, diffusion: Diffusion, ctx: trilemma.Context) -> Tensor:
        return self.solve(denoise, noise, diffusion, ctx.generator, euler_maruyama_step, show=ctx.show)


class ReverseDiffusion(TimeGrid, DenoiserSampler):
    """The reverse diffusion predictor without corrections (Song et al. 2021, appendix E).

    Deviations: the start and the last evaluation of `euler-maruyama`.
    """

    name = "reverse-diffusion"

    def draw(self, denoise: Denoiser, noise: Tensor, diffusion: Diffusion, ctx: trilemma.Context) -> Tensor:
        return self.solve(denoise, noise, diffusion, ctx.generator, reverse_diffusion_step, show=ctx.show)


class Correction(trilemma.Config):
    """Options of Langevin corrections."""

    corrector_steps: int = Field(1, ge=1, description="number of Langevin steps at every time")
    snr: float = Field(0.16, gt=0, description="signal-to-noise ratio of a Langevin step")
    step_rule: StepRule = Field(
        "snr",
        description="how snr sets the step size; snr: by the norms of noise and score, means over the samples drawn at "
        "once; snr-per-sample: by those of each sample; ald: by the noise level, as in the public code",
    )

    def options(self) -> dict[str, Any]:
        """The options of `TimeGrid.solve`."""
        return {"corrector_steps": self.corrector_steps, "snr": self.snr, "rule": self.step_rule}


class PredictorCorrector(Correction, TimeGrid, DenoiserSampler):
    """The reverse diffusion predictor, then Langevin corrections at every time (Song et al. 2021, appendix G).

    By default the norms in the step size are means over the up to 2,000 samples that are drawn at once, as in the paper
    for large batches. Samples then depend on each other through one number at each time, and a draw of very few samples
    should use `ald`. `snr-per-sample` suits many dimensions, where norms hardly vary. In two dimensions it fails: the
    score is almost 0 near a mode, so that points there get far too large steps. Deviations: the start and the last
    evaluation of `euler-maruyama`; one `snr`, that of the paper's VE SDE, is the default for every diffusion, while the
    paper searches it for each.
    """

    name = "predictor-corrector"

    def draw(self, denoise: Denoiser, noise: Tensor, diffusion: Diffusion, ctx: trilemma.Context) -> Tensor:
        return self.solve(
            denoise, noise, diffusion, ctx.generator, reverse_diffusion_step, show=ctx.show, **self.options()
        )


class LangevinCorrector(Correction, TimeGrid, DenoiserSampler):
    """Langevin corrections at every time, without a predictor (Song et al. 2021, table 1, `C2000`).

    Between two times the state is scaled by the ratio of alpha. The step sizes are those of `predictor-corrector`.
    Deviations: those of `predictor-corrector`.
    """

    name = "langevin-corrector"

    def draw(self, denoise: Denoiser, noise: Tensor, diffusion: Diffusion, ctx: trilemma.Context) -> Tensor:
        return self.solve(denoise, noise, diffusion, ctx.generator, None, show=ctx.show, **self.options())


class Ancestral(DenoiserSampler):
    """Ancestral sampling (Ho et al. 2020) and DDIM (Song, Meng & Ermon 2021) over evenly spaced times of the diffusion.

    The variance of a step is that of the posterior (`small` in `ddpm`), times `eta` squared, and not the larger beta of
    Song et al. 2021 (eq. 4) for the VP SDE. Takes `steps` evaluations,
    of which the last is the step from time eps to the data.
    """

    name = "ancestral"
    steps: int = Field(100, ge=1, description="number of times from 1 down to eps")
    eps: float = Field(1e-3, gt=0, lt=1, description="smallest time, not below that in training")
    eta: float = Field(
        1.0, ge=0, le=1, description="noise of a step, as a share of the noise of ancestral sampling: 0 is DDIM"
    )

    def draw(self, denoise: Denoiser, noise: Tensor, diffusion: Diffusion, ctx: trilemma.Context) -> Tensor:
        times = torch.linspace(1, diffusion.earliest_of(self.eps), self.steps, dtype=torch.float64)
        return ddim(denoise, noise, diffusion.sigma(times), self.eta, ctx.generator, show=ctx.show)


class GottaGoFast(DenoiserSampler):
    """The adaptive SDE solver of Jolicoeur-Martineau et al. 2021, which chooses the step size for each sample.

    A step takes two evaluations. The details hold the mean and the largest number of evaluations per sample.
    Deviations: a refused step is tried again on the same Brownian path unless `memory` is false, as it is in the paper;
    the start is the one of `euler-maruyama`.
    """

    name = "gotta-go-fast"
    shows_chain = False  # each sample is at a time of its own
    rtol: float = Field(0.05, gt=0, description="relative tolerance")
    atol: float = Field(0.0078, gt=0, description="absolute tolerance")
    max_step: float = Field(1.0, gt=0, le=1, description="largest step size, in time")
    eps: float = Field(
        1e-3,
        gt=0,
        lt=1,
        description="time at which the solver stops, not before the smallest time in training; a last step denoises",
    )
    memory: bool = Field(
        True,
        description="whether a refused step is tried again with the same noise; the paper draws new noise, which makes "
        "the samples too wide",
    )

    def draw(self, denoise: Denoiser, noise: Tensor, diffusion: Diffusion, ctx: trilemma.Context) -> Tensor:
        x, last = start(noise, diffusion), diffusion.earliest_of(self.eps)
        x, evaluations = gotta_go_fast(
            denoise,
            x,
            diffusion,
            ctx.generator,
            eps=last,
            rtol=self.rtol,
            atol=self.atol,
            max_step=self.max_step,
            memory=self.memory,
        )
        record_evaluations(ctx, evaluations + 1)
        eps = torch.tensor(last, dtype=torch.float64)
        return denoise(x / per_point(diffusion.alpha(eps), x), diffusion.sigma(eps).to(x))


SDE_SAMPLERS: tuple[type[DenoiserSampler], ...] = (
    EulerMaruyama,
    ReverseDiffusion,
    PredictorCorrector,
    LangevinCorrector,
    Ancestral,
    GottaGoFast,
)
