"""The rows that the report embeds, to browse and filter: which ones, and what is shown of each."""
