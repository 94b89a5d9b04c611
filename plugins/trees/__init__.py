"""Generative models made of regression trees, for tables."""
