"""Networks that several families share, with their training recipes."""
