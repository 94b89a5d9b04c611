"""What is to be done: TOML to a validated suite, to cells with their identities."""
