"""Drifting: a generator whose samples are moved towards data during training, and which needs one evaluation."""
