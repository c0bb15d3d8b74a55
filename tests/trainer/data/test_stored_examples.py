"""Examples in a file are those that were written, and a training holds few of them at a time."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gristmill.trainer.data.examples import Example, TokenSequence
from gristmill.trainer.data.lazy_examples import ids_of, longest_of, tokens_of
from gristmill.trainer.data.stored_examples import SCHEMA, StoredExamples, batch_of
from gristmill.trainer.methods.sft import SupervisedFineTuning

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
    with pytest.raises(IndexError):
        found[len(whole)]


def sequences() -> int:
    """Count the sequences that are Python objects."""
    return sum(type(each) is TokenSequence for each in gc.get_objects())


def test_a_training_holds_the_examples_of_a_step_at_a_time(
    make_model, rows, stopping, tmp_path: Path
) -> None:
    step = SupervisedFineTuning.model_validate(
        {"model": "base", "batch_rows": 2, "max_length": 128, "adapter": {"rank": 2}, "dtype": "fp32"}
    )
    held = []
    others = sequences()

    class Counting(stopping):  # type: ignore[misc, valid-type]
        def check(self) -> None:
            held.append(sequences() - others)

    step.fit(pa.Table.from_pylist(rows), Counting(tmp_path / "w", make_model()))
    assert len(held) == 9
    assert max(held) <= 4 < len(rows)
