"""Drops rows that repeat another row or an evaluation item."""
