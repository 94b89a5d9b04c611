"""The built-in report of a run, as HTML, Markdown and CSV."""
