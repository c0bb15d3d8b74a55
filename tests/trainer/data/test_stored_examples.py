"""Examples in a file are those that were written, and a training holds few of them at a time."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gristmill.contracts import registry
from gristmill.trainer.data.examples import Example, TokenSequence
from gristmill.trainer.data.lazy_examples import ids_of, longest_of, rows_of, tokens_of
from gristmill.trainer.data.stored_examples import SCHEMA, StoredExamples, batch_of
from gristmill.trainer.step import TrainStep

floats = st.floats(allow_nan=False)


@st.composite
def sequences(draw: st.DrawFn) -> TokenSequence:
    ids = draw(st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=6))
    each = {"min_size": len(ids), "max_size": len(ids)}
    trained = draw(st.lists(st.booleans(), **each))
    weights = draw(st.none() | st.lists(floats, **each).map(tuple))
    return TokenSequence(tuple(ids), tuple(trained), weights)


examples = st.builds(
    Example,
    id=st.text(st.characters(exclude_categories=["Cs"])),
    sequences=st.lists(sequences(), min_size=1, max_size=3).map(tuple),
    weight=floats,
    value=floats,
    group=st.text(st.characters(exclude_categories=["Cs"])),
    sampled=st.lists(floats, max_size=4).map(tuple),
    cut_off=st.booleans(),
    beside=st.lists(sequences(), max_size=2).map(tuple),
    apart=st.booleans(),
    row=st.integers(0, 2**40),
)


def stored(path: Path, batches: Sequence[Sequence[Example]]) -> StoredExamples:
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, SCHEMA) as writer:
        for batch in batches:
            writer.write_batch(batch_of(batch))
    return StoredExamples(path)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(st.lists(examples, max_size=4), max_size=3))
def test_examples_in_a_file_are_those_that_were_written(tmp_path: Path, batches: list[list[Example]]) -> None:
    whole = [example for batch in batches for example in batch]
    found = stored(tmp_path / "examples.arrow", batches)
    assert list(found) == whole
    assert repr(found[1:]) == repr(whole[1:])  # the types too: what follows is the same to the bit
    assert (tokens_of(found), longest_of(found), ids_of(found)) == (
        tokens_of(whole), longest_of(whole), ids_of(whole),
    )  # fmt: skip
    assert rows_of(found) == rows_of(whole)
    with pytest.raises(IndexError):
        found[len(whole)]


def sequences() -> int:
    """Count the sequences that are Python objects.

    ``gc.get_objects`` also finds what another thread is making. A tuple that is made from a generator breaks
    when it is found, so what makes packs ahead makes them from lists.
    """
    return sum(type(each) is TokenSequence for each in gc.get_objects())


def answered(number: int) -> dict[str, Any]:
    return {"prompt": "count " * (number % 3 + 1), "response": "one two three "[: 4 + number % 9]}


#: A method, its settings, what its row with a number has, and the most sequences of a step that it holds.
METHODS = {
    "sft": ({}, answered, 4),
    "dpo": ({}, lambda n: {"prompt": "ab", "chosen": "yes" * (n + 1), "rejected": "no"}, 8),
    "kto": ({}, lambda n: answered(n) | {"passed": n % 2 == 0}, 10),
    "grpo": (
        {"kl": 0.1, "group": "topic"},
        lambda n: {
            "prompt": "ab", "response_tokens": [20, 21, 1], "logprobs": [-0.5] * 3, "topic": n // 4,
            "reward": n % 2,
        },
        4,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", METHODS)
def test_a_training_holds_the_examples_of_a_step_at_a_time(
    name: str, make_model, stopping, tmp_path: Path
) -> None:
    options, row, most = METHODS[name]
    kind = registry.find("train", name)
    assert kind is not None
    small = {"batch_rows": 2, "max_length": 128, "adapter": {"rank": 2}, "dtype": "fp32"}
    step = kind.model_validate({"model": "base", **small, **options})
    assert isinstance(step, TrainStep)
    held = []
    others = sequences()

    class Counting(stopping):  # type: ignore[misc, valid-type]
        def check(self) -> None:
            held.append(sequences() - others)

    rows = [{"_id": f"row-{n}", **row(n)} for n in range(24)]
    step.fit(pa.Table.from_pylist(rows), Counting(tmp_path / "w", make_model()))
    assert len(held) == 12
    assert max(held) <= most < len(rows)
