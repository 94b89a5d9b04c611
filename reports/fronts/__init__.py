"""The picture of quality against cost with its front, and that of the three corners."""
