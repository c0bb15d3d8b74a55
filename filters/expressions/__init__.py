"""DuckDB SQL over the columns of a row: conditions and new columns."""
