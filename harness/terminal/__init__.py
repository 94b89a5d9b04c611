"""What a run shows while it goes on: on a terminal, and in a notebook."""
