"""Runs on a cluster with Slurm: parts of a suite in jobs of 10 to 60 minutes; a launcher submits and merges them."""
