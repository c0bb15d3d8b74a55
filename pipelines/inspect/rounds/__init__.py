"""The rounds of a run as data: shown, compared, and continued in another run."""
