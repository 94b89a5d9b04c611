"""Normalizing flows: invertible maps between data and a base distribution, with a density."""
