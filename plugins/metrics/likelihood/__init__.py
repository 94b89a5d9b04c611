"""Metrics of likelihoods: NLL, mass, and the checks that a log-density is one."""
