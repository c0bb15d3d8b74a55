"""Prompts with verifiable constraints, the checks of the constraints, and an evaluation by them."""
