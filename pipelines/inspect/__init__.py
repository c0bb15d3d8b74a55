"""Inspects a run: the history of a row, the origin of trained weights, the effect of another condition."""
