"""Generative adversarial networks: the plain one (Goodfellow et al. 2014) and the denoising diffusion GAN."""
