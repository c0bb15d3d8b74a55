"""The arguments that several commands share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def add_pipeline(parser: argparse.ArgumentParser) -> None:
    """Add the arguments for the pipeline file and for changes to it."""
    parser.add_argument("file", help="a pipeline file, or the name of a packaged recipe")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="PATH=VALUE",
        dest="overrides",
        help="change the file's value",
    )
    add_trust(parser)


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Add the option that loads a file outside the working directory without asking."""
    parser.add_argument(
        "--trust", action="store_true", help="do not ask about a file that is not below the working directory"
    )


def add_no_report(parser: argparse.ArgumentParser) -> None:
    """Add the option of a command that writes a run's report at its end."""
    parser.add_argument("--no-report", action="store_true", help="do not write report.html at the end")


def add_out(parser: argparse.ArgumentParser) -> None:
    """Add the argument for the directory that a model is written to."""
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="the directory to write; an existing one is replaced",
    )


def memory_size(text: str) -> int:
    """A size such as ``2GB``, for argparse."""
    from ..file.sizes import bytes_of

    try:
        size = bytes_of(int(text) if text.isdecimal() else text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    assert size is not None
    return size


def positive(text: str) -> int:
    """A whole number from 1, for argparse."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {value}")
    return value


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar for a known number of parts, if standard error is a terminal."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(title, total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)
