"""Evaluations of models on held-out tasks, and the statistics that compare two models."""
