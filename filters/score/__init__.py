"""Adds columns that say how good a row is."""
