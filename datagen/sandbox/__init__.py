"""Runs untrusted code.

This package is also loaded inside the sandbox. So its modules, except ``pool``, import only the standard
library and each other.
"""
