"""Mutation of Python programs: to test whether tests notice, and to create bugs with known fixes."""
