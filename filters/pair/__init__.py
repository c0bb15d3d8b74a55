"""Pairs a better response with a worse one."""
