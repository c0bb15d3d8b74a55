"""The gate of a loop: from the items of several evaluations to promoted, kept or abstained."""
