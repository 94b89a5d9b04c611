"""Autoregressive models: the distribution of each coordinate, or patch, given those before it."""
