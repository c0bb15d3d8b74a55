"""The size of packs: fixed on a CPU, as large as fits on a GPU, and kept for a training that goes on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from gristmill.trainer.forecast.pack_size import SIZES, SMALLEST, choose_pack_tokens
from gristmill.trainer.parallel import Processes

GPU = torch.device("cuda")


def test_a_cpu_has_small_packs_whatever_fits(tmp_path: Path) -> None:
    kept = tmp_path / "packs.json"
    assert choose_pack_tokens(torch.device("cpu"), lambda tokens: True, 1e6, kept) == SMALLEST
    assert not list(tmp_path.iterdir())


def test_a_gpu_has_the_largest_packs_that_fit(tmp_path: Path) -> None:
    found = [
        choose_pack_tokens(GPU, lambda tokens, room=room: tokens <= room, 1e6, tmp_path / f"{room}.json")
        for room in (1 << 30, 9000, 100)
    ]
    assert found == [SIZES[0], 8192, SMALLEST]
    assert SIZES[0] == 16384


def test_a_training_that_goes_on_has_the_packs_that_it_began_with(tmp_path: Path) -> None:
    kept = tmp_path / "step/packs.json"
    assert choose_pack_tokens(GPU, lambda tokens: tokens <= 4096, 1e6, kept) == 4096
    assert json.loads(kept.read_text()) == {"pack_tokens": 4096}
    assert choose_pack_tokens(GPU, lambda tokens: True, 1e6, kept) == 4096


def test_a_pack_is_no_larger_than_the_share_of_a_process_in_a_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise, processes would be idle."""
    found = []
    for size in (1, 4):
        monkeypatch.setattr(Processes, "current", classmethod(lambda cls, size=size: cls(0, size)))
        monkeypatch.setattr(Processes, "gather", lambda self, value: [value])
        for tokens in (10_000, 700):
            kept = tmp_path / f"{size} {tokens}.json"
            found.append(choose_pack_tokens(GPU, lambda tokens: True, tokens, kept))
    assert found == [10_000, SMALLEST, 2_500, SMALLEST]
