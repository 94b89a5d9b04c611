"""Trained models of a run directory, for use: samples and log-densities in data space, and the files that hold them."""
