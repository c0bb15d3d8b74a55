"""Whole-table steps of any size: their rows in batches, tasks that compute over them, and their results."""
