"""Weights of spans of a response: which tokens get which weight, and spans that do not fit."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gristmill.trainer.data.chat import ChatEncoder
from gristmill.trainer.data.unfit import Unfit
from gristmill.trainer.losses.token_loss import TokenObjective, cross_entropy

from .test_tool_calls import CALLING

RESPONSE = "Hm. It is 4."


@pytest.fixture
def encoder(tmp_path: Path, save_tokenizer: Callable[..., None]) -> ChatEncoder:
    save_tokenizer(tmp_path)
    return ChatEncoder(tmp_path)


@pytest.fixture
def words(tmp_path: Path, save_tokenizer: Callable[..., None]) -> ChatEncoder:
    """An encoder whose tokens are words, each with the space before it, and begin differently by themselves,
    as SentencePiece's do."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE(unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.BpeTrainer(
        special_tokens=["?", "<|start|>", "<|end|>"], initial_alphabet=list("abcdefghijklmnopqrstuvwxyz\n▁ .")
    )
    tokenizer.train_from_iterator(["user assistant say it is four it is four. hm"] * 3, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>", unk_token="?")
    save_tokenizer(tmp_path)
    fast.chat_template = ChatEncoder(tmp_path).template_text
    fast.save_pretrained(tmp_path)
    return ChatEncoder(tmp_path)


def weighed(encoder: ChatEncoder, response: str, spans: Any, **columns: Any) -> dict[int, tuple[str, float]]:
    """The trained tokens, by their number, with their weights."""
    row = {"_id": "a", "prompt": "say", "response": response, "span_weights": spans, **columns}
    (tokens,) = TokenObjective(cross_entropy).encode(row, encoder).sequences
    weights = tokens.weights or (1.0,) * len(tokens.ids)
    found = [
        (str(encoder.tokenizer.decode([token])), weight)
        for token, on, weight in zip(tokens.ids, tokens.trained, weights)
        if on
    ]
    assert [weight for weight, on in zip(weights, tokens.trained) if not on] == [1.0] * (
        len(tokens.ids) - len(found)
    )
    return dict(enumerate(found))


def test_exactly_the_tokens_of_a_span_have_its_weight(encoder: ChatEncoder) -> None:
    spans = [{"start": 10, "end": 11, "weight": Decimal("3.0")}, {"start": 0, "end": 3, "weight": 0.0}]
    found = weighed(encoder, RESPONSE, spans)
    assert [piece for piece, _ in found.values()] == [*RESPONSE, "<|end|>"]
    assert [weight for _, weight in found.values()] == [0, 0, 0, *[1] * 7, 3, 1, 1]


def test_a_token_that_a_span_cuts_has_the_mean_weight_of_its_characters(words: ChatEncoder) -> None:
    found = weighed(words, "oh it is four", [{"start": 6, "end": 11, "weight": 5.0}])
    assert [(piece.strip("▁ "), weight) for piece, weight in found.values()][-4:] == [
        ("it", 1.0), ("is", pytest.approx(1 + 4 * 2 / 3)), ("four", pytest.approx(1 + 4 * 3 / 5)),
        ("<|end|>", 1.0),
    ]  # fmt: skip


def test_spans_count_the_characters_of_the_response_whatever_their_bytes(encoder: ChatEncoder) -> None:
    found = weighed(encoder, "aä😀b", [{"start": 1, "end": 3, "weight": 2.0}])
    assert [weight for _, weight in found.values()] == [1, 2, 2, 2, 2, 2, 2, 1, 1]


def test_no_spans_leave_the_weights_as_they_are(encoder: ChatEncoder) -> None:
    assert weighed(encoder, "ab", []) == weighed(encoder, "ab", None)


@pytest.mark.parametrize(
    ("spans", "reason"),
    [
        ([{"start": 0, "end": 13, "weight": 1.0}], "span 1 .* is from 0 to 13, but the response has 12 char"),
        ([{"start": 2, "end": 2, "weight": 1.0}], "is from 2 to 2"),
        ([{"start": -1, "end": 2, "weight": 1.0}], "is from -1 to 2"),
        ([{"start": 0, "end": 2, "weight": -1.0}], "the weight of span 1 .* is -1.0: negative"),
        ([{"start": 0, "end": 2, "weight": float("nan")}], "not {start, end, weight}"),
        ([{"start": 0, "end": 2}], "span 1 .* not {start, end, weight}"),
        ([[0, 2, 1.0]], "not {start, end, weight}"),
        ("all", "its span weights are 'all', not a list of spans"),
        (
            [{"start": 0, "end": 3, "weight": 2.0}, {"start": 2, "end": 4, "weight": 0.0}],
            "its spans 0 to 3 and 2 to 4 overlap",
        ),
    ],
)
def test_spans_that_do_not_fit_the_response_make_the_row_unfit(
    encoder: ChatEncoder, spans: Any, reason: str
) -> None:
    with pytest.raises(Unfit, match=reason) as raised:
        weighed(encoder, RESPONSE, spans)
    assert raised.value.reason == "wrong weights"


def test_a_row_has_the_weights_of_tokens_or_of_spans(encoder: ChatEncoder) -> None:
    spans = [{"start": 0, "end": 2, "weight": 2.0}]
    with pytest.raises(Unfit, match="both token_weights and span_weights"):
        weighed(encoder, "ab", spans, token_weights=[1.0, 1.0, 1.0])


@pytest.mark.parametrize(
    ("response", "thought"),
    # "</think>" and "<|end|>" have letters too.
    [("4", "2 + 2 is 4."), ("hm", "hm, hm"), ("t", "so"), ("n", "so")],
)
@pytest.mark.parametrize("template", ["", "{% if m.reasoning %}<r>{{ m.reasoning }}</r>\nn{% endif %}"])
def test_weights_are_of_the_response_though_the_same_text_stands_elsewhere(
    response: str, thought: str, template: str, tmp_path: Path, save_tokenizer: Callable[..., None]
) -> None:
    own = "<|start|>{{ m.role }}\n" + template + "{{ m.content }}<|end|>\n"
    opening = "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
    save_tokenizer(tmp_path, template="{% for m in messages %}" + own + "{% endfor %}" + opening)
    encoder = ChatEncoder(tmp_path)
    before = f"<r>{thought}</r>\nn" if template else f"<think>\n{thought}\n</think>\n\n"
    spans = [{"start": 0, "end": 1, "weight": 3.0}]
    found = weighed(encoder, response, spans, reasoning=thought)
    assert "".join(piece for piece, _ in found.values()) == f"{before}{response}<|end|>"
    rest = len(response) - 1
    assert [weight for _, weight in found.values()] == [*[1.0] * len(before), 3.0, *[1.0] * rest, 1.0]
    given = [3.0, *[0.5] * rest, 0.25]
    found = weighed(encoder, response, None, reasoning=thought, token_weights=given)
    assert [weight for _, weight in found.values()] == [*[1.0] * len(before), *given]


def test_weights_of_a_text_that_a_call_repeats_are_of_the_text(
    tmp_path: Path, save_tokenizer: Callable[..., None]
) -> None:
    save_tokenizer(tmp_path, template=CALLING)
    call = {"name": "lookup", "arguments": {"city": "Ulm"}}
    answer = {"role": "assistant", "content": "Ulm", "tool_calls": [call]}
    talk: list[Any] = [{"role": "user", "content": "q"}, answer]
    encoder = ChatEncoder(tmp_path)
    (tokens,) = encoder.encode_turns(talk, span_weights=[{"start": 0, "end": 3, "weight": 3.0}])
    assert encoder.show(tokens) == "Ulm<call>lookup city=Ulm<|end|>"
    assert tokens.weights is not None
    assert tokens.weights[tokens.trained.index(True) :][:4] == (3.0, 3.0, 3.0, 1.0)
    assert tokens.weights.count(3.0) == 3
