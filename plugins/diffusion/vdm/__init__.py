"""Variational diffusion models: a diffusion whose noise schedule is learned, trained by its variational bound."""
