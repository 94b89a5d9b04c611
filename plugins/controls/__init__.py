"""Controls: models that mark the scale of the results and are not ranked."""
