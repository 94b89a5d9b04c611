"""Who starts, watches and ends cells."""
