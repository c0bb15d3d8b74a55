"""Sources of rows: JSON Lines, Parquet, Arrow and Hugging Face data sets, local or by fsspec URL; numbers."""

from .count import Count
from .dataset import HuggingFaceDataset
from .jsonl import Jsonl
from .parquet import Parquet

__all__ = ["Count", "HuggingFaceDataset", "Jsonl", "Parquet"]
