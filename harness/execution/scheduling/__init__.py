"""Which cell runs when, and where."""
