"""Filters of rows: scoring, deduplication, clustering, selection and decontamination."""
