"""Where rows come from: JSON Lines, Parquet, Arrow and Hugging Face data sets; local paths and fsspec URLs."""

from .dataset import HuggingFaceDataset
from .jsonl import Jsonl
from .parquet import Parquet

__all__ = ["HuggingFaceDataset", "Jsonl", "Parquet"]
