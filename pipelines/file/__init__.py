"""The pipeline file: parsed with positions, checked in one pass, represented by frozen models."""
