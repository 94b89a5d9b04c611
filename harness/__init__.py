"""The core of trilemma: contracts, planning, execution, storage, command line."""
