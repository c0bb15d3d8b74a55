"""Code edits: before, after, diff, tests that distinguish the two, and instructions for the edit."""
