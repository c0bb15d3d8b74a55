"""The arguments that several commands share."""

from __future__ import annotations

import argparse


def add_pipeline(parser: argparse.ArgumentParser) -> None:
    """The pipeline file and the changes made to it on the command line."""
    parser.add_argument("file", help="a pipeline file, or the name of a packaged recipe")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="PATH=VALUE",
        dest="overrides",
        help="change the file's value",
    )
