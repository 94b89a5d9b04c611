"""The run directory, and its results as a frame."""
