"""The contracts between the harness and plugins: models, datasets, metrics, report sections and hooks."""
