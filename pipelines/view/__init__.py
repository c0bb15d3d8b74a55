"""Views of a run: a live table, plain lines, only the result, or JSON."""
