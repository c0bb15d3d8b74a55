"""Fused operations for the trainer: a plain reference, a Triton kernel, and tests that cover both."""
