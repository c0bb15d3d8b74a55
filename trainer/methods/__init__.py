"""The ``train:`` steps, one file per method."""
