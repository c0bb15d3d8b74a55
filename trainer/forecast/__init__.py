"""How much memory and time a training takes, before it starts."""
