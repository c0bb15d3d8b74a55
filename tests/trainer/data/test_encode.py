"""The check of all rows before the first step: labels that teach the wrong behavior are refused, by id."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gristmill.contracts.errors import DataError
from gristmill.contracts.rows import messages_of
from gristmill.trainer.data.chat import ChatEncoder
from gristmill.trainer.data.encode import Encoded, encode_rows, show_labels
from gristmill.trainer.data.examples import Example, TokenSequence
from gristmill.trainer.data.unfit import as_table, count_reasons
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
        ({"messages": []}, "it has no turns"),
        ({"messages": {"role": "user"}}, "no list of turns"),
        ({"messages": [{"role": "user", "content": "x"}, None]}, "turn 2 is no turn"),
        ({"messages": [{"content": "x"}]}, "turn 1 has no role"),
        ({"messages": [{"role": "user"}]}, "has no text"),
        ({"messages": [{"role": "user", "content": "x"}]}, "last turn is not the assistant's"),
        ({"response": "one<|end|>two"}, "end-of-turn token itself"),
        ({"response": None}, "last turn is not the assistant's"),
        ({"prompt": None}, "no chat form"),
        ({"weight": 0}, "its weight is 0, not a positive number"),
        ({"weight": [1, 2]}, r"its weight is \[1, 2\], not a positive number"),
        ({"token_weights": 2.0}, "its token weights are 2.0, not a list of numbers"),
        ({"token_weights": [1.0, None, 1.0]}, "not a list of numbers"),
        ({"tools": "[" * 100_000}, "'tools' are text that is not JSON"),
        ({"token_weights": [1.0]}, "1 token weights for a response of 3 tokens"),
        ({"token_weights": [1.0, -1.0, 1.0]}, "negative or not finite"),
        ({"token_weights": [0.0, 0.0, 0.0]}, "all labels are masked or have weight 0"),
    ],
)
def test_a_row_that_cannot_be_trained_on_is_refused_by_id(
    model: Path, change: dict[str, Any], reason: str
) -> None:
    with pytest.raises(DataError, match=rf"1 of 2 rows .*bad: .*{reason}"):
        _encode(model, [ROW, {**ROW, "_id": "bad", **change}])


def test_token_weights_may_be_decimals(model: Path) -> None:
    row = {**ROW, "token_weights": [Decimal("0.5"), 1, 2.0]}
    (example,) = _encode(model, [row]).examples
    (tokens,) = example.sequences
    assert tokens.weights is not None
    assert tokens.weights[-3:] == (0.5, 1.0, 2.0)
    assert {type(weight) for weight in tokens.weights} == {float}


BAD: dict[str, dict[str, Any]] = {
    "cut": {"finish": "length"},
    "long": {"response": "y" * 99},
    "empty": {"response": " "},
    "end": {"response": "one<|end|>two"},
    "weights": {"token_weights": [1.0]},
    "weight": {"weight": -1},
    "last": {"messages": [{"role": "user", "content": "x"}]},
    "role": {"messages": [{"content": "x"}, {"role": "assistant", "content": "x"}]},
    "columns": {"prompt": None},
}


def test_rows_that_cannot_be_trained_on_are_left_out_and_counted_by_reason(model: Path) -> None:
    rows = [ROW, *({**ROW, "_id": name, **change} for name, change in BAD.items())]
    found = _encode(model, rows, unfit_limit=0.9)
    assert [example.id for example in found.examples] == ["a"]
    assert {row.id: row.reason for row in found.left_out} == {
        "cut": "cut off",
        "long": "too long",
        "empty": "empty response",
        "end": "end of turn inside",
        "weights": "wrong weights",
        "weight": "wrong weights",
        "last": "no turn to train on",
        "role": "no conversation",
        "columns": "no conversation",
    }
    assert count_reasons(found.left_out)["wrong weights"] == 2
    table = as_table(found.left_out)
    assert table["row"].to_pylist() == list(BAD)
    assert table["message"][1].as_py().endswith("tokens, longer than max_length = 99 tokens")


def test_a_larger_share_of_such_rows_than_the_limit_stops(model: Path) -> None:
    rows = [{**ROW, "_id": str(number)} for number in range(9)]
    bad = [{**ROW, "_id": "cut", "finish": "length"}, {**ROW, "_id": "long", "response": "y" * 99}]
    assert _encode(model, [*rows[:8], *bad], unfit_limit=0.2).rows == 8
    with pytest.raises(DataError, match=r"2 of 9 rows .*allows 20% \(1 cut off, 1 too long\).*cut: .*long: "):
        _encode(model, [*rows[:7], *bad], unfit_limit=0.2)
    with pytest.raises(
        DataError, match=r"no rows to train on: 1 cut off, 1 too long; the first is cut: cut off"
    ):
        _encode(model, bad, unfit_limit=1.0)


def test_each_answer_that_needs_a_sequence_of_its_own_is_an_example_of_the_row(
    tmp_path: Path, save_tokenizer: Callable[..., None]
) -> None:
    save_tokenizer(
        tmp_path,
        template="{% for m in messages %}<|start|>{{ m['role'] }}\n{{ m['content'].split('</think>')[-1 if "
        "not loop.last else 0:] | join('</think>') }}<|end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}",
    )
    said = [("user", "a"), ("assistant", "hm</think>b"), ("user", "c"), ("assistant", "hm</think>d")]
    row = {"_id": "a", "weight": 2.0, "messages": [{"role": role, "content": text} for role, text in said]}
    objective, encoder = TokenObjective(cross_entropy), ChatEncoder(tmp_path, train_on="assistant")
    found = encode_rows([row], objective.encode, encoder, max_length=99, vocabulary=258)
    assert [(each.id, len(each.sequences), each.weight) for each in found.examples] == [("a", 1, 2.0)] * 2
    assert found.rows == 1
    assert objective.count(objective.encode(row, encoder)) == sum(map(objective.count, found.examples))


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

    with pytest.raises(DataError, match=rf"1 of 2 rows .*bad: .*{reason}"):
        encode_rows([ROW, {**ROW, "_id": "bad"}], encode, ChatEncoder(model), max_length=99, vocabulary=258)


def test_shows_which_tokens_are_trained_on(model: Path) -> None:
    shown = show_labels(_encode(model, [ROW]).examples, ChatEncoder(model))
    assert shown.endswith("<|start|>assistant\n[h][i][<|end|>]")
    assert shown.startswith("row a: 3 of ")
