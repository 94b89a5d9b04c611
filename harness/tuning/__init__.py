"""The search for options of a model on validation data (extra `tune`)."""
