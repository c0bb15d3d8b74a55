"""The command line starts fast and imports no framework."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

COMMAND = Path(sys.executable).with_name("gristmill")
BUDGET_SECONDS = 0.6

LOOK = """
import sys
sys.argv = ["gristmill", *sys.argv[1:]]
from gristmill.pipelines.cli.main import main
try:
    main()
except SystemExit:
    pass
frameworks = {"torch", "vllm", "ray", "transformers", "datasets", "sklearn", "pandas"}
print("brought", *sorted(frameworks & set(sys.modules)))
"""


def test_help_is_instant() -> None:
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        done = subprocess.run([COMMAND, "--help"], capture_output=True, text=True, check=True)
        best = min(best, time.perf_counter() - start)
    assert "usage: gristmill" in done.stdout
    assert best < BUDGET_SECONDS


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["run", "--help"],
        ["plan", "--help"],
        ["plan", "quickstart"],
        ["plan", "alchemist_coder"],
        ["models", "list"],
        ["recipes"],
        ["doctor"],
        ["schema"],
        ["help"],
        ["help", "train", "dpo"],
    ],
    ids=" ".join,
)
def test_light_commands_import_no_framework(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-c", LOOK, *arguments], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1].strip() == "brought", done.stdout[-300:]
    assert len(done.stdout) > 100
