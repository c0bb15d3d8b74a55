"""Operators that make rows: those that ask a model, the loop that samples it, and those that need none."""
