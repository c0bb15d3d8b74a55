"""Prefetched packs are the packs that are asked for, made by another thread."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from gristmill.trainer.data.examples import Example, TokenSequence
from gristmill.trainer.data.packs import Pack
from gristmill.trainer.data.prefetch import Prefetch

CPU = torch.device("cpu")


class Stored(Sequence[Example]):
    """Examples that are made anew whenever they are asked for, as those of a file are."""

    def __len__(self) -> int:
        return 5

    def __getitem__(self, number: Any) -> Any:
        if number >= len(self):
            raise IndexError(number)
        made = TokenSequence((number, number + 1, 7), (False, True, True))
        return Example(f"{number}", (made,), weight=number + 1)


STORED = Stored()


@pytest.fixture
def makers(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The thread that made each pack, by its first row."""
    found: dict[str, str] = {}
    make = Pack.of

    def noted(examples: list[Example], device: torch.device) -> Pack:
        found[examples[0].id] = threading.current_thread().name
        return make(examples, device)

    monkeypatch.setattr(Pack, "of", noted)
    return found


def test_all_packs_but_the_first_are_made_in_another_thread(makers: dict[str, str]) -> None:
    packs = list(Prefetch(CPU).packs(STORED, [[0, 1], [2], [3, 4]]))
    assert [[each.id for each in pack.examples] for pack in packs] == [["0", "1"], ["2"], ["3", "4"]]
    assert torch.equal(packs[2].ids, Pack.of([STORED[3], STORED[4]], CPU).ids)
    assert packs[2].row_weights().tolist() == [4.0, 5.0]
    here = threading.current_thread().name
    assert [makers[first] == here for first in "02"] == [True, False]


def test_the_first_pack_of_the_next_step_is_made_during_this_one(makers: dict[str, str]) -> None:
    ahead = Prefetch(CPU)
    list(ahead.packs(STORED, [[0]], then=(1, 2)))
    (pack,) = ahead.packs(STORED, [[1, 2]])
    assert [each.id for each in pack.examples] == ["1", "2"]
    assert makers["1"] != threading.current_thread().name


def test_a_pack_that_was_not_announced_is_made_at_once() -> None:
    ahead = Prefetch(CPU)
    list(ahead.packs(STORED, [[0]], then=(1, 2)))
    (pack,) = ahead.packs(STORED, [[1, 3]])
    assert [each.id for each in pack.examples] == ["1", "3"]
    list(ahead.packs(STORED, [[0]], then=(1, 2)))
    (pack,) = ahead.packs([*STORED][::-1], [[1, 2]])
    assert [each.id for each in pack.examples] == ["3", "2"]


def test_an_error_is_raised_where_the_pack_is_asked_for() -> None:
    wrong = [Example("wrong", (TokenSequence((1, 2), (False, True), ("x", "y")),))]  # type: ignore[arg-type]
    packs = Prefetch(CPU).packs([STORED[0], *wrong], [[0], [1]])
    assert next(packs).lengths == [3]
    with pytest.raises(ValueError, match="dimensions"):
        next(packs)
