"""Statistics for comparing two models on the same items."""
