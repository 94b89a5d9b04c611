"""Observers that report a run to other programs. Each imports its package only when a run uses it."""
