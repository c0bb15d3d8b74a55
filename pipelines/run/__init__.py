"""The only place with side effects: executors that walk a plan, and the loop over rounds."""
