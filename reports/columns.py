# ruff: noqa: RUF001 -- a minus sign is meant where a title takes one quantity from another
"""What the tables know of metrics: titles, groups, order. A metric that is not named here still gets its column."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

QUALITY, COVERAGE, LIKELIHOOD = "Quality", "Coverage", "Likelihood"
FURTHER, SAMPLING, TRAINING = "Further metrics", "Sampling cost", "Training"
GROUPS = (QUALITY, COVERAGE, FURTHER, LIKELIHOOD, SAMPLING, TRAINING)

KIND_TITLES = {
    "exact": "exact",
    "ode": "ODE",
    "bound": "bound",
    "estimate": "estimate",
}
KINDS = tuple(KIND_TITLES)


@dataclass(frozen=True)
class Known:
    """A metric that the report knows: its title, group, and whether it stands in the main table and may be bold."""

    title: str
    group: str
    main: bool = True
    ranked: bool = True
    by_kind: bool = False
    unit: str | None = None


KNOWN = {
    "w2": Known("W₂", QUALITY),
    "w2_excess": Known("W₂ excess V", QUALITY),
    "sliced_w2": Known("Sliced W₂", QUALITY),
    "sliced_w2_excess": Known("Sliced W₂ excess V", QUALITY),
    "w1": Known("W₁", QUALITY, main=False),
    "w1_excess": Known("W₁ excess", QUALITY, main=False),
    "sinkhorn": Known("Sinkhorn divergence", QUALITY, main=False),
    "sinkhorn_excess": Known("Sinkhorn excess", QUALITY, main=False),
    "frechet": Known("Fréchet distance", QUALITY),
    "frechet_excess": Known("Fréchet excess", QUALITY, main=False),
    "kernel_distance": Known("Kernel distance", QUALITY, main=False),
    "alpha_precision": Known("α-precision", QUALITY, main=False),
    "authenticity": Known("Authenticity", QUALITY, main=False),
    "memorized": Known("Memorized", QUALITY, main=False),
    "marginal_error": Known("Marginal error", QUALITY, main=False),
    "worst_marginal_error": Known("Worst marginal error", QUALITY, main=False),
    "correlation_error": Known("Correlation error", QUALITY, main=False),
    "energy": Known("Energy distance", QUALITY, main=False),
    "mmd2": Known("MMD²", QUALITY, main=False),
    "c2st_auc": Known("C2ST AUC", QUALITY, main=False),
    "precision": Known("Precision", QUALITY, main=False),
    "density": Known("Density", QUALITY, main=False),
    "within_3_sigma": Known("Within 3σ", QUALITY, main=False),
    "mode_spread": Known("Mode spread", QUALITY, main=False),
    "modes_covered": Known("Modes covered", COVERAGE, unit=""),
    "recall": Known("Recall", COVERAGE),
    "coverage": Known("Coverage", COVERAGE, main=False),
    "beta_recall": Known("β-recall", COVERAGE, main=False),
    "mode_mass_kl": Known("Mode mass KL", COVERAGE, main=False),
    "nll_gap": Known("NLL − entropy", LIKELIHOOD, by_kind=True),
    "nll": Known("NLL", LIKELIHOOD, by_kind=True),
    "kde_nll_excess": Known("KDE NLL excess", LIKELIHOOD, main=False, by_kind=True),
    "kde_nll": Known("KDE NLL", LIKELIHOOD, main=False, by_kind=True),
    "score_error": Known("Score error", LIKELIHOOD, main=False),
    "score_error_far": Known("Score error far away", LIKELIHOOD, main=False),
    "generalization_gap": Known("Generalization gap", LIKELIHOOD, ranked=False),
    "nfe": Known("NFE", SAMPLING, unit=""),
    "seconds_per_1k": Known("Time per 1k", SAMPLING),
    "latency_p50": Known("Latency p50", SAMPLING),
    "latency_p90": Known("Latency p90", SAMPLING, main=False),
    "flops_per_sample": Known("FLOP per sample", SAMPLING, main=False, unit="FLOP"),
    "peak_memory": Known("Sampling memory", SAMPLING, main=False),
    "energy_per_1k_estimate": Known("Energy per 1k (estimate)", SAMPLING, main=False),
    "train_flops": Known("Training FLOP", TRAINING, main=False, ranked=False, unit="FLOP"),
    "train_seconds": Known("Training time", TRAINING, ranked=False),
    "train_steps": Known("Training steps", TRAINING, main=False, ranked=False),
    "train_peak_memory": Known("Training memory", TRAINING, main=False, ranked=False),
    "parameters": Known("Parameters", TRAINING, main=False, ranked=False, unit="parameters"),
}
DISTANCES = ("w2", "sliced_w2")
"""Distances that stand for sample quality, in order of preference where a metric marks itself as primary."""


def known(metric: str) -> Known:
    """What is known of a metric; a metric without an entry is written with its own name."""
    return KNOWN.get(metric) or Known(metric.replace("_", " "), FURTHER, by_kind=True)


def order(metric: str) -> tuple[int, int, str]:
    """Sort key: group, then the order of the list above, then the name."""
    names = list(KNOWN)
    position = names.index(metric) if metric in KNOWN else len(names)
    return GROUPS.index(known(metric).group), position, metric


def quality_metric(table: pd.DataFrame) -> str | None:
    """The metric that stands for sample quality among the summary rows of one dataset.

    W2, or the sliced distance where the dimension makes W2 unreadable, else the first other metric of samples.
    """
    sampled = table[(table["metric"] != "") & (table["sampler"] != "")]
    primary = set(sampled.loc[sampled["primary"], "metric"])
    candidates: list[str] = sorted(sampled["metric"].unique(), key=order)
    for metric in (*(name for name in DISTANCES if name in primary), *candidates):
        if metric in candidates and known(metric).group in (QUALITY, COVERAGE, FURTHER):
            return metric
    return None


def unit_of(metric: str, unit: str) -> str:
    """The unit of a metric's column before scaling."""
    fixed = known(metric).unit
    return unit if fixed is None else fixed
