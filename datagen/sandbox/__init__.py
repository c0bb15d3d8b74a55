"""Runs untrusted code. Loaded inside the sandbox too, so its modules import only the standard library and each other (but ``pool``)."""
