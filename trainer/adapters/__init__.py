"""Adapters: one small class each, over one frozen linear layer."""
