"""Generation of rows: inference engines, prompts, parsers, generators and verifiers."""
