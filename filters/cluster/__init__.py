"""Groups rows by their embeddings."""
