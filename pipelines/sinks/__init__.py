"""Where rows go: Parquet, JSON Lines, a Hugging Face data set on disk or on the Hub."""

from .arrow import ArrowExport
from .hub import HubExport
from .jsonl import JsonlExport
from .parquet import ParquetExport

__all__ = ["ArrowExport", "HubExport", "JsonlExport", "ParquetExport"]
