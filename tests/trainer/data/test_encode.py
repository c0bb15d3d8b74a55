"""The check of all rows before the first step: labels that teach the wrong behavior are refused, by id."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gristmill.contracts.errors import DataError
from gristmill.contracts.rows import messages_of
from gristmill.trainer.data.chat import ChatEncoder
from gristmill.trainer.data.encode import Encoded, encode_rows, show_labels
from gristmill.trainer.data.examples import Example, TokenSequence
from gristmill.trainer.losses.token_loss import TokenObjective, cross_entropy

ROW = {"_id": "a", "prompt": "Say hi.", "response": "hi", "system": "Be kind."}


@pytest.fixture
def model(tmp_path: Path, save_tokenizer: Callable[..., None]) -> Path:
    save_tokenizer(tmp_path)
    return tmp_path


def _encode(model: Path, rows: list[dict[str, Any]], **options: Any) -> Encoded:
    encode = TokenObjective(cross_entropy).encode
    return encode_rows(rows, encode, ChatEncoder(model), max_length=99, vocabulary=258, **options)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"response": "  \n"}, "all labels would be masked"),
        ({"messages": [{"role": "user", "content": "x"}]}, "last turn is not the assistant's"),
        ({"response": "one<|end|>two"}, "end-of-turn token itself"),
        ({"response": None}, "last turn is not the assistant's"),
        ({"prompt": None}, "no chat form"),
        ({"weight": 0}, "its weight is 0, not a positive number"),
        ({"token_weights": [1.0]}, "1 token weights for a response of 3 tokens"),
        ({"token_weights": [1.0, -1.0, 1.0]}, "negative or not finite"),
        ({"token_weights": [0.0, 0.0, 0.0]}, "all labels are masked or have weight 0"),
    ],
)
def test_a_row_that_cannot_be_trained_on_is_refused_by_id(
    model: Path, change: dict[str, Any], reason: str
) -> None:
    with pytest.raises(DataError, match=rf"1 row .*bad: .*{reason}"):
        _encode(model, [ROW, {**ROW, "_id": "bad", **change}])


def test_rows_cut_off_or_too_long_are_left_out_and_named(model: Path) -> None:
    rows = [ROW, {**ROW, "_id": "cut", "finish": "length"}, {**ROW, "_id": "long", "response": "y" * 99}]
    found = _encode(model, rows)
    assert [example.id for example in found.examples] == ["a"]
    assert (found.too_long, found.cut_off) == (["long"], ["cut"])
    with pytest.raises(DataError, match=r"2 rows .*long: longer than .*cut: cut off"):
        _encode(model, rows, refuse_unfit=True)
    with pytest.raises(DataError, match=r"no rows to train on: 1 are longer .* 1 were cut off"):
        _encode(model, rows[1:])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda t: replace(t, trained=(False,) * len(t.ids)), "all labels are masked"),
        (lambda t: replace(t, trained=(True,) * len(t.ids)), "the first token has a label"),
        (lambda t: replace(t, ids=t.ids[:-1], trained=t.trained[:-1]), "does not end with the end-of-turn"),
        (lambda t: replace(t, trained=(*t.trained[:-1], False)), "its end of turn is masked"),
        (lambda t: replace(t, ids=(*t.ids[:-2], 258, t.ids[-1])), "token 258 is outside the model's 258"),
    ],
)
def test_labels_that_teach_the_wrong_thing_are_refused_whatever_made_them(
    model: Path, change: Callable[[TokenSequence], TokenSequence], reason: str
) -> None:
    def encode(row: dict[str, Any], encoder: ChatEncoder) -> Example:
        tokens = encoder.encode(messages_of(row))
        return Example(row["_id"], (change(tokens) if row["_id"] == "bad" else tokens,))

    with pytest.raises(DataError, match=rf"1 row .*bad: .*{reason}"):
        encode_rows([ROW, {**ROW, "_id": "bad"}], encode, ChatEncoder(model), max_length=99, vocabulary=258)


def test_shows_which_tokens_are_trained_on(model: Path) -> None:
    shown = show_labels(_encode(model, [ROW]).examples, ChatEncoder(model))
    assert shown.endswith("<|start|>assistant\n[h][i][<|end|>]")
    assert shown.startswith("row a: 3 of ")
