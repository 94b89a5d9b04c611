"""Drawings that metrics give in the details of their results: histograms, fields on a grid, and pictures of points."""
