"""From rows to token sequences: chat templates, checks, packs."""
