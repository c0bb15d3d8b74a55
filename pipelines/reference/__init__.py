"""The reference of pipeline files and the command line, for ``gristmill help`` and docs/reference."""
