"""The decoder, its linear layers, and how weights are read, held and written."""
