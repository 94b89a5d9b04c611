"""Langevin Monte Carlo."""
