"""Elucidating the design space of diffusion-based generative models (Karras et al. 2022)."""
