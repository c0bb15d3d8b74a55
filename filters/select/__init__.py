"""Chooses rows."""
