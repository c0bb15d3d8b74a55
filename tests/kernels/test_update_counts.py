"""Counts of updates, of all entries or of each, and Adam's bias correction by them."""

from __future__ import annotations

import pytest
import torch

from gristmill.kernels.update_counts import LARGEST, advance, bias_correction, forgotten


@pytest.mark.parametrize("beta", [0.0, 0.9, 0.999])
def test_the_correction_of_each_entry_is_that_of_its_count(beta: float) -> None:
    counts = torch.tensor([[1, 2, 50], [600, 5000, LARGEST]], dtype=torch.int16)
    wanted = torch.tensor([[1 - beta ** int(count) for count in row] for row in counts])
    torch.testing.assert_close(bias_correction(beta, counts), wanted, rtol=1e-6, atol=0)
    assert bias_correction(beta, torch.tensor(7.0)) == bias_correction(beta, 7) == 1 - beta**7


def test_entries_that_are_dropped_are_counted_apart() -> None:
    count = torch.tensor(40)
    advance(count)
    assert count == 41
    kept = torch.tensor([True, False, True])
    counts = forgotten(count, kept)
    assert counts.dtype == torch.int16
    advance(counts)
    assert counts.tolist() == [42, 1, 42]
    assert forgotten(counts, ~kept).tolist() == [0, 1, 0]
    assert not forgotten(torch.tensor(0.0), kept).dim(), "all are new, and counted together"


def test_counts_end_at_the_largest() -> None:
    counts = forgotten(torch.tensor(10**6), torch.tensor([True, False]))
    advance(counts)
    assert counts.tolist() == [LARGEST, 1]
