"""Published claims: their records, the experiments that test them, and the verdicts."""
