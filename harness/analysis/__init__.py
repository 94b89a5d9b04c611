"""Statistics of results: intervals, paired comparisons, ranks, Pareto fronts, summaries, and the view of a run."""
