"""The reference of pipeline files and the command line: what ``gristmill help`` and docs/reference say."""
