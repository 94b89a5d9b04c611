"""Controls: models that mark the scale on which the others are read."""
