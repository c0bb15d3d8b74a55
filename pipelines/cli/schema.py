"""``gristmill schema``: write the JSON Schema of pipeline files, and of training files."""

from __future__ import annotations

import argparse
import json
from pathlib import Path


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--training", action="store_true", help="of training files (gristmill train) instead")
    parser.add_argument("--out", metavar="FILE", help="write to this file (default: print)")


def main(args: argparse.Namespace) -> int:
    from ...contracts.errors import StoreError
    from ..file.schema import schema, training_schema

    text = json.dumps(training_schema() if args.training else schema(), indent=2, ensure_ascii=False) + "\n"
    if args.out is None:
        print(text, end="")
        return 0
    try:
        Path(args.out).write_text(text, encoding="utf-8")
    except OSError as error:
        raise StoreError(f"cannot write {args.out}: {error.strerror}") from None
    print(f"wrote {args.out}; for editors that use the YAML language server, put this at the top of a file:")
    print(f"# yaml-language-server: $schema={args.out}")
    return 0
