"""Sources of rows: JSON Lines, CSV, Parquet, Arrow and Hugging Face data sets, local or by URL; numbers."""

from .count import Count
from .csv_files import Csv
from .dataset import HuggingFaceDataset
from .jsonl import Jsonl
from .parquet import Parquet

__all__ = ["Count", "Csv", "HuggingFaceDataset", "Jsonl", "Parquet"]
