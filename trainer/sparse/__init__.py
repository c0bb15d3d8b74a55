"""Training of the weights themselves as changes of a frozen base: dense, sparse, or half of them."""
