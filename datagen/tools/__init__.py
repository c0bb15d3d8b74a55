"""Python functions as tools: their schemas, whether calls fit them, and what calls of them give."""
