"""Adapters, deltas and models put together into one model, tensor by tensor."""
