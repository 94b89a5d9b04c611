"""Built-in reports: HTML, Markdown and CSV of a finished run."""
