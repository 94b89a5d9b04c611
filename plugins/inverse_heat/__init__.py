"""Generative modelling with inverse heat dissipation (Rissanen et al. 2023)."""
