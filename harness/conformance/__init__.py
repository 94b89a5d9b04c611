"""The checks that a plugin must pass. Run them by `trilemma check NAME`, or in pytest."""
