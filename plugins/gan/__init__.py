"""Generative adversarial networks (Goodfellow et al. 2014)."""
