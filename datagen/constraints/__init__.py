"""Prompts with checkable constraints, the checks, and the evaluation that counts them."""
