"""Ways to watch a run: a live table, plain lines, nothing but the end, or JSON."""
