"""The built-in metrics. The mathematics is in pure functions with keyword-only arguments."""
