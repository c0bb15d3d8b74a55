"""What a server charges: the tokens that it reports, those that are counted here, and their price."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gristmill.contracts.inference import Completion
from gristmill.contracts.notices import listening

from .conftest import ask
from .test_openai import Listen, call, connect, said

pytestmark = pytest.mark.usefixtures("hasty")


def test_what_thrown_away_answers_cost_is_counted(listen: Listen) -> None:
    empty = {"choices": [], "usage": {"prompt_tokens": 11, "completion_tokens": 40}}
    server = listen(lambda n, body: (200, {}, empty) if n < 2 else said("fine"))
    (completion,) = call(connect(server), ask("x"))
    assert completion.wasted is not None
    assert (completion.wasted.requests, completion.wasted.completion_tokens) == (2, 80)


def test_without_usage_tokens_are_counted_and_the_user_told_once(listen: Listen) -> None:
    choice = {"message": {"content": "four score and seven"}, "finish_reason": "stop"}
    server = listen(lambda n, body: (200, {}, {"choices": [choice]}))
    told: list[str] = []
    with listening(told.append):
        done = call(connect(server), ask("eleven byte"), ask("x", 1))
    assert (done[0].prompt_tokens, len(done[0].tokens)) == (3 + 4, 5)
    assert len(told) == 1
    assert "reports no usage: tokens are estimated, 4 bytes each" in told[0]


@pytest.mark.parametrize(
    "usage",
    [
        [1],
        {"prompt_tokens": "many", "completion_tokens": "x"},
        {"prompt_tokens": float("inf"), "completion_tokens": float("nan")},
        {"prompt_tokens": 10**400, "completion_tokens": 10**10},
        {"prompt_tokens": -5, "completion_tokens": -7, "cost": -1},
        {"prompt_tokens": True, "prompt_tokens_details": [1], "cost": float("nan")},
    ],
)
def test_a_usage_that_cannot_be_true_is_none_and_costs_no_row(listen: Listen, usage: Any) -> None:
    choice = {"message": {"content": "four score and seven"}, "finish_reason": "stop"}
    server = listen(lambda n, body: (200, {}, {"choices": [choice] if n else [], "usage": usage}))
    (done,) = call(connect(server), ask("eleven byte"))
    assert isinstance(done, Completion)
    assert (done.text, done.prompt_tokens, len(done.tokens)) == ("four score and seven", 3 + 4, 5)
    assert done.cost == 0.0
    assert done.wasted is None or done.wasted.prompt_tokens >= 0


def test_of_a_usage_the_parts_that_can_be_true_count(listen: Listen) -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 3.0, "prompt_tokens_details": {"cached_tokens": 4}}
    choice = {"message": {"content": "a"}, "finish_reason": "stop"}
    server = listen(lambda n, body: (200, {}, {"choices": [choice], "usage": {**usage, "cost": "free"}}))
    (done,) = call(connect(server), ask("x"))
    assert (done.prompt_tokens, len(done.tokens), done.cached_tokens) == (9, 3, 4)


@pytest.mark.parametrize(
    ("usage", "counts", "missing"),
    [
        ({"prompt_tokens": 9}, (9, 5), "completion tokens"),
        ({"prompt_tokens": 9, "completion_tokens": 0}, (9, 5), "completion tokens"),
        ({"completion_tokens": 3}, (7, 3), "prompt tokens"),
        ({"prompt_tokens": 0, "completion_tokens": 3}, (7, 3), "prompt tokens"),
        (
            {"prompt_tokens": "many", "completion_tokens": 3, "prompt_cache_hit_tokens": 50},
            (7, 3),
            "prompt tokens",
        ),
    ],
)
def test_the_count_that_a_usage_lacks_is_made(
    listen: Listen, usage: Any, counts: tuple[int, int], missing: str
) -> None:
    choice = {"message": {"content": "four score and seven"}, "finish_reason": "stop"}
    server = listen(lambda n, body: (200, {}, {"choices": [choice], "usage": usage}))
    told: list[str] = []
    with listening(told.append):
        (done,) = call(connect(server, price={"input": 1, "output": 2}), ask("eleven byte"))
    assert (done.prompt_tokens, len(done.tokens)) == counts
    assert done.cached_tokens <= done.prompt_tokens
    # At one price for all, more cached tokens than tokens would lower it.
    assert done.cost == pytest.approx((counts[0] + 2 * counts[1]) / 1e6)
    assert f"reports no {missing}: tokens are estimated" in told[0]


def test_token_ids_are_counted_where_the_server_reports_no_usage(listen: Listen) -> None:
    choice = {"message": {"content": "a"}, "finish_reason": "stop", "token_ids": list(range(40))}
    server = listen(lambda n, body: (200, {}, {"choices": [choice]}))
    (done,) = call(connect(server, price={"input": 0, "output": 1}), ask("x"))
    assert done.cost == pytest.approx(40 / 1e6)


def test_a_tokenizer_that_is_here_counts(listen: Listen, tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    letters = {letter: place for place, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(letters, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"")
    choice = {"message": {"content": "four score"}, "finish_reason": "stop"}
    server = listen(lambda n, body: (200, {}, {"choices": [choice]}))
    told: list[str] = []
    with listening(told.append):
        (completion,) = call(connect(server, tokenizer=str(tmp_path)), ask("x"))
    assert len(completion.tokens) == len("four score")
    assert "counted by the tokenizer in" in told[0]
