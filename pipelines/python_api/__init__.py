"""Gristmill as a library: pipelines made in Python, and the commands as functions."""
