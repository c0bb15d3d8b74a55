"""Judges and chooses rows: scores, deduplication, clustering, selection, decontamination."""
