"""The built-in sections, one module each."""
