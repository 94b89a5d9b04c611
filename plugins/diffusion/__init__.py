"""Diffusion models, score models and flow matching: their models and samplers share a denoiser D(x, sigma)."""
