"""The comparison: attempts, trials, suites."""
