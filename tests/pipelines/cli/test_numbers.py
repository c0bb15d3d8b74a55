"""Numbers of the command line: finite, whole where they count, and within their limits."""

from __future__ import annotations

import argparse
import importlib

import pytest

from gristmill.contracts.errors import DataError
from gristmill.pipelines.cli import main as cli
from gristmill.pipelines.cli.arguments import finite, share, whole
from gristmill.pipelines.inspect.other_threshold import other_threshold


@pytest.mark.parametrize("threshold", [float("nan"), float("inf"), float("-inf")])
def test_a_threshold_is_a_finite_number(threshold: float) -> None:
    with pytest.raises(DataError, match="a threshold is a finite number"):
        other_threshold(None, "kept", threshold)  # type: ignore[arg-type]


def _numbers() -> list[tuple[str, argparse.Action]]:
    """Every option of every command that takes a number."""
    found = []
    for command in cli.COMMANDS:
        parser = argparse.ArgumentParser()
        importlib.import_module(f"gristmill.pipelines.cli.{command}").configure(parser)
        for action in parser._actions:
            try:
                made = None if action.type is None else action.type("1")  # type: ignore[operator]
                number = isinstance(made, (int, float))
            except (TypeError, ValueError, argparse.ArgumentTypeError):
                continue
            if number:
                found.append((command, action))
    return found


def test_no_option_takes_a_number_that_is_not_finite() -> None:
    numbers = _numbers()
    assert len(numbers) > 10
    for command, action in numbers:
        for text in ("nan", "inf", "-inf", "x", "1e999"):
            with pytest.raises((argparse.ArgumentTypeError, ValueError)):
                pytest.fail(f"{command} {action.dest} takes {action.type(text)}")  # type: ignore[operator]


def test_limits_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["chat", "m", "--temperature", "nan"])
    assert "expected a finite number, found 'nan'" in capsys.readouterr().err
    with pytest.raises(argparse.ArgumentTypeError, match="must be from 0 to 1, not 2"):
        share("2")
    with pytest.raises(argparse.ArgumentTypeError, match="must be at least 0, not -1"):
        whole("-1")
    with pytest.raises(argparse.ArgumentTypeError, match="must be at least 1, not 0"):
        finite("0", 1.0)
