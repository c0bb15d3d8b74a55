"""Decides by execution: every verdict here comes out of the sandbox."""
