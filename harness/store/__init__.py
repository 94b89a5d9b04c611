"""The store: the run directory, and its results as a frame."""
