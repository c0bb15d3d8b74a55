"""Training the weights themselves, as deltas to a base that stays: dense, sparse, or half of them."""
