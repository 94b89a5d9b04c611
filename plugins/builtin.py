"""The plugin module of the built-in models and metrics."""

from __future__ import annotations

from pathlib import Path

from trilemma import hookimpl

MODELS = {
    "oracle": ".controls.oracle:Oracle",
    "memorizer": ".controls.memorizer:Memorizer",
    "gaussian": ".controls.gaussian:Gaussian",
    "gmm": ".controls.gmm:GaussianMixture",
    "kde": ".controls.kde:KernelDensity",
    "langevin": ".controls.langevin:LangevinMonteCarlo",
    "exact-score": ".controls.exact_score:ExactScore",
    "planar": ".flows.planar:PlanarFlow",
    "radial": ".flows.planar:RadialFlow",
    "sylvester": ".flows.sylvester:SylvesterFlow",
    "nice": ".flows.nice:NICE",
    "realnvp": ".flows.realnvp:RealNVP",
    "realnvp-multiscale": ".flows.images.realnvp:MultiscaleRealNVP",
    "glow": ".flows.glow:Glow",
    "glow-multiscale": ".flows.images.glow:MultiscaleGlow",
    "nsf-multiscale": ".flows.images.glow:MultiscaleSpline",
    "maf": ".flows.maf:MAF",
    "iaf": ".flows.maf:IAF",
    "nsf-coupling": ".flows.nsf:CouplingSpline",
    "nsf-autoregressive": ".flows.nsf:AutoregressiveSpline",
    "rad": ".flows.rad:RAD",
    "cnf": ".flows.cnf:ContinuousFlow",
    "score-matching": ".diffusion.score_matching:ScoreMatching",
    "energy-matching": ".diffusion.score_matching:EnergyMatching",
    "ncsn": ".diffusion.ncsn:Ncsn",
    "ncsnv2": ".diffusion.ncsn:NcsnV2",
    "ncsn-short": ".diffusion.ncsn:NcsnShort",
    "ddpm": ".diffusion.ddpm:Ddpm",
    "ve-sde": ".diffusion.score_sde:VeSde",
    "vp-sde": ".diffusion.score_sde:VpSde",
    "subvp-sde": ".diffusion.score_sde:SubVpSde",
    "vdm": ".diffusion.vdm.vdm:Vdm",
    "vdm-unet": ".diffusion.vdm.vdm:VdmUnet",
    "edm": ".diffusion.edm:Edm",
    "edm-unet": ".diffusion.edm:EdmUnet",
    "flow-matching": ".diffusion.flow_matching:FlowMatching",
    "ot-flow-matching": ".diffusion.paired_flows:OtFlowMatching",
    "rectified-flow": ".diffusion.paired_flows:RectifiedFlow",
    "flow-map": ".flow_maps.flow_map:FlowMap",
    "flow-map-unet": ".flow_maps.images:FlowMapUnet",
    "distilled-flow-map": ".flow_maps.distilled:DistilledFlowMap",
    "distilled-flow-map-unet": ".flow_maps.images:DistilledFlowMapUnet",
    "meanflow": ".flow_maps.named:MeanFlow",
    "meanflow-unet": ".flow_maps.images:MeanFlowUnet",
    "shortcut": ".flow_maps.named:Shortcut",
    "shortcut-unet": ".flow_maps.images:ShortcutUnet",
    "consistency": ".flow_maps.named:Consistency",
    "consistency-unet": ".flow_maps.images:ConsistencyUnet",
    "ncsn-unet": ".diffusion.images:NcsnUnet",
    "ncsnv2-unet": ".diffusion.images:NcsnV2Unet",
    "ddpm-unet": ".diffusion.images:DdpmUnet",
    "ve-sde-unet": ".diffusion.images:VeSdeUnet",
    "vp-sde-unet": ".diffusion.images:VpSdeUnet",
    "subvp-sde-unet": ".diffusion.images:SubVpSdeUnet",
    "flow-matching-unet": ".diffusion.images:FlowMatchingUnet",
    "ot-flow-matching-unet": ".diffusion.images:OtFlowMatchingUnet",
    "rectified-flow-unet": ".diffusion.images:RectifiedFlowUnet",
    "cold-morph": ".cold_diffusion.vectors:ColdMorph",
    "cold-fade": ".cold_diffusion.vectors:ColdFade",
    "cold-blur": ".cold_diffusion.images:ColdBlur",
    "cold-mask": ".cold_diffusion.images:ColdMask",
    "cold-downsample": ".cold_diffusion.images:ColdDownsample",
    "inverse-heat": ".cold_diffusion.inverse_heat:InverseHeat",
    "sobolev-descent": ".sobolev_descent.sobolev_descent:SobolevDescent",
    "unbalanced-sobolev-descent": ".sobolev_descent.sobolev_descent:UnbalancedSobolevDescent",
    "ddgan": ".gan.ddgan:Ddgan",
    "ddgan-unet": ".gan.ddgan:DdganUnet",
    "gan": ".gan.gan:Gan",
    "gan-unet": ".gan.gan:GanUnet",
    "vae": ".vae.vae:Vae",
    "vlae": ".vae.vlae:FlowPriorVAE",
    "ar-levels": ".autoregressive.levels:AutoregressiveLevels",
    "tarflow": ".autoregressive.tarflow:TarFlow",
    "drifting": ".drifting.drifting:Drifting",
    "forest-flow": ".trees.forest_flow:ForestFlow",
}
"""Every built-in model by its name, controls first. A module is imported when one of its models is used."""

METRICS = {
    "nll": ".metrics.likelihood.nll:Nll",
    "kde_nll": ".metrics.kde_nll:KdeNll",
    "score_error": ".metrics.score_error:ScoreError",
    "witness_energy": ".metrics.witness_energy:WitnessEnergy",
    "wasserstein": ".metrics.wasserstein:Wasserstein",
    "wasserstein1": ".metrics.wasserstein:Wasserstein1",
    "sliced_wasserstein": ".metrics.wasserstein:SlicedWasserstein",
    "sinkhorn": ".metrics.sinkhorn:Sinkhorn",
    "energy": ".metrics.kernels:Energy",
    "mmd": ".metrics.kernels:Mmd",
    "precision_recall": ".metrics.precision_recall:PrecisionRecall",
    "alpha_precision": ".metrics.alpha_precision:AlphaPrecision",
    "modes": ".metrics.modes:ModeCoverage",
    "tabular": ".metrics.tabular:Tabular",
    "c2st": ".metrics.c2st:C2st",
    "frechet": ".metrics.frechet:Frechet",
    "restoration": ".metrics.restoration:Restoration",
    "chain_distance": ".metrics.chain:ChainDistance",
    "memorization": ".metrics.memorization:Memorization",
    "sampling_cost": ".metrics.cost:SamplingCost",
    "sampling_time": ".metrics.sampling_time:SamplingTime",
    "training_cost": ".metrics.cost:TrainingCost",
}
"""Every built-in metric by its name, in the order of tables."""


@hookimpl
def trilemma_models() -> dict[str, str]:
    """The built-in models."""
    return MODELS


@hookimpl
def trilemma_metrics() -> dict[str, str]:
    """The built-in metrics."""
    return METRICS


OBSERVERS = {
    "tensorboard": ".observers.tensorboard:TensorBoard",
    "mlflow": ".observers.mlflow:Mlflow",
    "wandb": ".observers.wandb:Wandb",
}
"""Every built-in observer by its name. Each needs a package that an extra brings."""


@hookimpl
def trilemma_observers() -> dict[str, str]:
    """The built-in observers."""
    return OBSERVERS


@hookimpl
def trilemma_papers() -> str:
    """The papers of the built-in models and samplers."""
    return (Path(__file__).parent / "papers.bib").read_text(encoding="utf-8")


@hookimpl
def trilemma_claims() -> list[Path]:
    """The claims of the papers of the built-in models and samplers, a file for each family, the trilemma first."""
    return sorted((Path(__file__).parent / "claims").glob("*.toml"), key=lambda file: (file.stem != "trilemma", file))
