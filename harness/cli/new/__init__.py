"""The command `trilemma new`, and the packages that it writes."""
