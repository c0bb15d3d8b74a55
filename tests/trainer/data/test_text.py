"""Plain texts: every token is trained on once, also those where a long text is cut."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing

from gristmill.contracts.errors import ModelError
from gristmill.trainer.data.examples import TokenSequence
from gristmill.trainer.data.text import TextEncoder
from gristmill.trainer.data.unfit import Unfit

SaveTokenizer = Callable[..., None]
TEXT = "the quick brown fox jumps over the lazy dog"


def trained(sequences: list[TokenSequence]) -> list[int]:
    """The trained tokens of all sequences, in their order."""
    return [token for each in sequences for token, on in zip(each.ids, each.trained) if on]


@pytest.mark.parametrize("length", [2, 3, 7, 43, 44, 45, 46, 200])
def test_every_token_is_trained_on_once_however_the_text_is_cut(
    tmp_path: Path, save_tokenizer: SaveTokenizer, length: int
) -> None:
    save_tokenizer(tmp_path)
    encoder = TextEncoder(tmp_path, length=length)
    body = encoder.tokenizer.encode(TEXT, add_special_tokens=False)
    pieces = encoder.encode(TEXT)
    assert trained(pieces) == [*body, encoder.end]
    assert [len(each.ids) for each in pieces[:-1]] == [length] * (len(pieces) - 1)
    assert 2 <= len(pieces[-1].ids) <= length
    assert all(each.trained == (False, *[True] * (len(each.ids) - 1)) for each in pieces)
    assert all(later.ids[0] == earlier.ids[-1] for earlier, later in pairwise(pieces))


def test_a_text_begins_as_the_tokenizer_begins_one_or_with_the_end_of_another(
    tmp_path: Path, save_tokenizer: SaveTokenizer
) -> None:
    save_tokenizer(tmp_path, begin="<|begin|>")
    (whole,) = TextEncoder(tmp_path, length=99).encode("ab")
    assert whole.ids[0] == whole.ids[-1]  # it has such a token, and puts it before no text
    file = tmp_path / "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(file))
    begin = tokenizer.token_to_id("<|begin|>")
    tokenizer.post_processor = TemplateProcessing("<|begin|> $A", special_tokens=[("<|begin|>", begin)])
    tokenizer.save(str(file))
    (whole,) = TextEncoder(tmp_path, length=99).encode("ab")
    assert (whole.ids[0], len(whole.ids), whole.trained_tokens) == (begin, 4, 3)


def test_a_base_model_needs_no_chat_template_and_the_end_of_a_text_can_be_named(
    tmp_path: Path, save_tokenizer: SaveTokenizer
) -> None:
    save_tokenizer(tmp_path, template=None, more=("<|endoftext|>",))
    encoder = TextEncoder(tmp_path, length=99, end="<|endoftext|>")
    assert encoder.template_text is None
    (whole,) = encoder.encode("ab")
    assert encoder.show(whole) == "ab<|endoftext|>"
    with pytest.raises(
        ModelError, match=r"text_end: '<\|endoftxt\|>' is no token.*did you mean '<\|endoftext"
    ):
        TextEncoder(tmp_path, length=99, end="<|endoftxt|>")


@pytest.mark.parametrize(
    ("text", "reason"),
    [(None, "no text"), (7, "no text"), (" \n", "no text"), ("a<|end|>b", "end of text inside")],
)
def test_what_is_no_text_is_left_out_with_its_reason(
    tmp_path: Path, save_tokenizer: SaveTokenizer, text: object, reason: str
) -> None:
    save_tokenizer(tmp_path)
    with pytest.raises(Unfit) as refused:
        TextEncoder(tmp_path, length=99).encode(text)
    assert refused.value.reason == reason
