"""Makes the deterministic steps of a run again, and compares them with what is stored."""
