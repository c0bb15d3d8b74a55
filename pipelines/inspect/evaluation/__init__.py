"""``gristmill eval``: models on task files, item by item, and compared in pairs."""
