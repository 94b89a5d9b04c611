"""Planning: from a TOML file to a validated suite, and to cells with their identities."""
