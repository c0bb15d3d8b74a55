"""The run directory: Parquet parts, ledgers and manifests, committed atomically."""
