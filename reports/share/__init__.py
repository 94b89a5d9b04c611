"""What leaves a run: tables for papers, figures, citations, and a site over many runs."""
