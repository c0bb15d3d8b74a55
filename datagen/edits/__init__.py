"""Code edits: before, after, the difference, the tests that tell them apart, and instructions that ask for it."""
