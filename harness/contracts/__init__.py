"""What a plugin author meets: models, datasets, metrics, report sections, hooks."""
