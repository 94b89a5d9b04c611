"""Denoising diffusion GANs (Xiao et al. 2022)."""
