"""Documents: their text and structure, read from files, and cut into chunks."""
