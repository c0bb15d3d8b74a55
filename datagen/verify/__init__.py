"""Verifiers by execution: code runs in the sandbox, which returns the verdicts."""
