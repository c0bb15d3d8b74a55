"""Adapters over one frozen linear layer: one class per file."""
