"""The checks that a plugin must pass: by `trilemma check NAME`, or in a third party's own pytest."""
