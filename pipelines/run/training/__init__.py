"""Starts the processes of a training step: on this machine, by ``torchrun``, or on a Ray cluster."""
