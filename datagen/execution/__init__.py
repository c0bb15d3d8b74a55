"""Runs code: sandboxes that operators share, what a run showed, and how many mutants tests notice."""
