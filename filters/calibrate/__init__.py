"""Scores as probabilities of being right, and cutoffs that keep a promise about precision."""
