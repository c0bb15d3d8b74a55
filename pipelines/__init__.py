"""Pipelines: spec, plan, run and store; the command line; the recipes."""
