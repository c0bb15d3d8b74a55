"""The pipeline file: read with positions, checked all at once, held as frozen models."""
