"""Generation of rows: prompts, parsers, generators, verifiers, and the sandbox."""
