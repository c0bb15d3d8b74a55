"""The runner: executors that carry out a plan, and the loop over rounds. All side effects are here."""
