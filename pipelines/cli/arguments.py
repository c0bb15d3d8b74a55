"""The arguments that several commands share."""

from __future__ import annotations

import argparse
import math
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


def whole(text: str, least: int = 0) -> int:
    """A whole number from ``least``, for argparse."""
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a whole number, found {text!r}") from None
    if value < least:
        raise argparse.ArgumentTypeError(f"must be at least {least}, not {value}")
    return value


def positive(text: str) -> int:
    """A whole number from 1, for argparse."""
    return whole(text, 1)


def finite(text: str, least: float = -math.inf, most: float = math.inf) -> float:
    """A finite number from ``least`` to ``most``, for argparse."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"expected a finite number, found {text!r}")
    if not least <= value <= most:
        limits = f"from {least:g} to {most:g}" if most < math.inf else f"at least {least:g}"
        raise argparse.ArgumentTypeError(f"must be {limits}, not {value:g}")
    return value


def from_zero(text: str) -> float:
    """A finite number of at least 0, for argparse."""
    return finite(text, 0.0)


def share(text: str) -> float:
    """A share from 0 to 1, for argparse."""
    return finite(text, 0.0, 1.0)


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
