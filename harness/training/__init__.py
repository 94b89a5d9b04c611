"""The loop that every neural model shares."""
