"""Embeddings of rows, and their nearest neighbors."""
