"""The execution of a run: starting, watching and ending cells."""
