"""Normalizing flows: invertible maps with an exact density."""
