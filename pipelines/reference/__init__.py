"""The reference of the pipeline file and the command line: one source for ``gristmill help`` and docs/reference."""
