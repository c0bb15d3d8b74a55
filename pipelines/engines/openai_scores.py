"""Scores by a vLLM server: log-probabilities of given texts, and rewards.

Texts are scored by `/tokenize` and by the log-probabilities of prompts. The server tokenizes prompt and text
separately, so the boundary between them is the same as with the engines in this process.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from ...contracts.errors import EngineError
from ...contracts.inference import Completion, Request
from .openai_usage import usable
from .openai_wire import Json, is_number
from .requests import check_length

#: Posts a body to an address and returns the answer.
Post: TypeAlias = Callable[[str, Json], Awaitable[Any]]


async def score(post: Post, url: str, model: str, request: Request) -> Completion:
    """Return the log-probabilities of the request's continuation. ``url``: the server's, with its ``/v1``.

    Raises EngineError, naming the request, and one of ``ODD_FORM`` for an answer of another form.
    """
    tokenize = f"{url.removesuffix('/v1')}/tokenize"
    text = request.continuation or ""
    if request.messages is not None:
        turns = [dict(turn) for turn in request.messages]
        told = await post(tokenize, {"model": model, "messages": turns})
    elif request.prompt is not None:
        told = await post(tokenize, {"model": model, "prompt": request.prompt})
    else:
        told = await post(tokenize, {"model": model, "prompt": ""})
        told["tokens"] = list(request.prompt_tokens or ())
    own = await post(tokenize, {"model": model, "prompt": text, "add_special_tokens": False})
    prompt, given = list(told["tokens"]), list(own["tokens"])
    if request.closed and given:
        given.append(await _end_of_turn(post, tokenize, model, request, given))
    check_length(request, len(prompt), int(told["max_model_len"]), len(given))
    answer = await post(
        f"{url}/completions",
        {
            "model": model,
            "prompt": [*prompt, *given],
            "max_tokens": 1,
            "temperature": 0.0,
            "prompt_logprobs": 0,
        },
    )
    places = answer["choices"][0]["prompt_logprobs"][len(prompt) :]
    return Completion(
        request_id=request.id,
        text=text,
        tokens=tuple(given),
        finish="stop",
        prompt_tokens=len(prompt),
        logprobs=tuple(
            _finite(place[str(token)]["logprob"]) for place, token in zip(places, given, strict=True)
        ),
    )


def _finite(value: Any) -> float:
    """A log-probability or a reward. Raises ValueError for what is none."""
    if not is_number(value) or value == -math.inf:
        raise ValueError(value)
    return float(value)


async def _end_of_turn(post: Post, tokenize: str, model: str, request: Request, given: list[int]) -> int:
    """Return the token that the chat template writes after the text. ``given``: the tokens of the text."""
    if request.messages is not None:
        turns = [*request.messages, {"role": "assistant", "content": request.continuation}]
        body = {"model": model, "messages": turns, "add_generation_prompt": False}
        whole = list((await post(tokenize, body))["tokens"])
        # The template may write more before an answer than its generation prompt (Qwen3's think block).
        places = [
            place for place in range(len(given), len(whole)) if whole[place - len(given) : place] == given
        ]
        if places and whole[-len(given) :] != given:
            return int(whole[places[-1]])
    raise EngineError(
        f"request {request.id!r}: the server does not tell which token ends this text: score it without its "
        "end of turn",
        retryable=False,
    )


async def rate(post: Post, url: str, model: str, request: Request) -> Completion:
    """Return the reward of the request's conversation, by `/classify` of a model with one label.

    Raises as :func:`score` does.
    """
    turns = [dict(turn) for turn in request.messages or ()]
    # Without the activation, which would turn the score into a probability.
    body = {"model": model, "messages": turns, "use_activation": False}
    answer = await post(f"{url.removesuffix('/v1')}/classify", body)
    values = answer["data"][0]["probs"]
    if len(values) != 1:
        raise EngineError(
            f"request {request.id!r}: the model {model!r} gives {len(values)} numbers; a reward model gives "
            "one",
            retryable=False,
        )
    return Completion(
        request_id=request.id,
        text="",
        tokens=(),
        finish="stop",
        prompt_tokens=usable(answer.get("usage")).get("prompt_tokens", 0),
        reward=_finite(values[0]),
    )
