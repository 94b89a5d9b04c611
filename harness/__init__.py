"""The core of trilemma: contracts, planning, execution, storage and the command line."""
