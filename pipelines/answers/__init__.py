"""Answers about a run: why a row is where it is, what made the weights, what another rule would keep."""
