"""How weights are updated: one small file an update rule."""
