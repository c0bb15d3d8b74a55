"""Makes rows: inference engines, prompts and parsers, generators, verifiers."""
