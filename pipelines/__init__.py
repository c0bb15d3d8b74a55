"""The runner: file, plan, run and store; engines, weights, sources and sinks; the command line; recipes."""
