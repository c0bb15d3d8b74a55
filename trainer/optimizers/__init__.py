"""Optimizers: one file per update rule."""
