"""What a policy freezes for a step stays as it is in all processes, and so do its moments."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import torch


def test_a_frozen_block_and_its_moments_do_not_change(make_model, tmp_path: Path) -> None:
    make_model()
    done = subprocess.run(
        [sys.executable, "-P", str(Path(__file__).with_name("frozen_in_processes.py")), str(tmp_path)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    one, other = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    changed = {"0": 0, "1": 0}
    for name, after in one[1].items():
        for part, tensor in after.items():
            assert torch.equal(tensor, other[1][name][part]), "both processes train alike"
            same = torch.equal(tensor, one[0][name][part])
            assert same == name.startswith("layers.0."), (name, part)
            changed[name.split(".")[1]] += not same
    assert changed["0"] == 0
    assert changed["1"] == 4 * sum(name.startswith("layers.1.") for name in one[1])
