"""Conversion to and from the OpenAI API, with the extensions of vLLM and the dialects of other servers."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from typing import Any

from ...contracts.inference import Completion, Message, Request
from ...contracts.secrets import without
from .openai_dialect import Dialect
from .openai_trouble import Trouble
from .openai_usage import usable
from .thinking import Thinking, settings_of, split_by_any
from .tool_calls import given_calls, without_secrets

Json = dict[str, Any]

_STOP = frozenset(
    {
        "",
        "stop",
        "eos",
        "eos_token",
        "end_turn",
        "stop_sequence",
        "none",
        "tool_calls",
        "tool_use",
        "function_call",
    }
)
_LENGTH = frozenset({"length", "max_tokens", "model_length", "max_output_tokens"})
_WITHHELD = frozenset({"content_filter", "safety", "recitation", "prohibited_content", "sensitive"})
_BROKEN = frozenset({"error", "abort", "insufficient_system_resource"})


class Wire:
    """Writes request bodies for one model and reads the answers. ``secrets`` are removed from answers."""

    def __init__(
        self,
        model: str,
        *,
        vllm: bool,
        dialect: Dialect | None = None,
        thinking: Thinking = "auto",
        secrets: Sequence[str] = (),
    ) -> None:
        self._secrets = tuple(secrets)
        self._model = model
        self._thinking = settings_of(thinking)
        self._vllm = vllm
        self._dialect = dialect or Dialect()

    def body(self, request: Request) -> tuple[str, Json]:
        """Return the path below the server's address, and the JSON to post."""
        sampling = request.sampling
        body: Json = {
            "model": self._model,
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
        }
        if sampling.temperature > 0:
            body["seed"] = request.seed
        if sampling.stop:
            body["stop"] = list(sampling.stop)
        # Only if they differ from "off": some servers refuse unknown fields.
        if sampling.top_k > 0:
            body["top_k"] = sampling.top_k
        if sampling.min_p > 0:
            body["min_p"] = sampling.min_p
        if sampling.repetition_penalty != 1.0:
            body["repetition_penalty"] = sampling.repetition_penalty
        if sampling.json_schema is not None:
            body["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": "answer", "schema": json.loads(sampling.json_schema), "strict": True},
            }
        if sampling.regex is not None:
            body["structured_outputs"] = {"regex": sampling.regex}
        if self._vllm:
            body["return_token_ids"] = True
        if request.messages is not None:
            body["messages"] = _without_old_thoughts(request.messages)
            if request.tools is not None:
                body["tools"] = json.loads(request.tools)
            if sampling.logprobs is not None:
                body |= {"logprobs": True, "top_logprobs": sampling.logprobs}
            return "/chat/completions", self._dialect.spoken(body)
        body["prompt"] = request.prompt if request.prompt is not None else list(request.prompt_tokens or ())
        if sampling.logprobs is not None:
            body["logprobs"] = sampling.logprobs
        return "/completions", self._dialect.spoken(body)

    def completion(self, request: Request, answer: Json) -> Completion:
        """Parse a completion.

        Raises Trouble if the server gives none, and KeyError, IndexError, TypeError or ValueError if what it
        gives has another form.
        """
        if not answer.get("choices"):
            raise Trouble("broken", "an answer that is not a completion: it has no choices")
        choice = answer["choices"][0]
        message = choice["message"] if "message" in choice else {"content": choice["text"]}
        text, reasoning = _content(message)
        if reasoning is None and request.messages is not None:
            text, reasoning = split_by_any(text, self._thinking)
        calls = given_calls(message, request)
        finish = _finish(choice, message)
        usage = usable(answer.get("usage"))
        logprobs = top = texts = None
        if request.sampling.logprobs is not None:
            logprobs, top = _logprobs(choice["logprobs"], request.sampling.logprobs)
            if request.sampling.top_texts:
                texts = _texts(choice["logprobs"], request.sampling.logprobs)
        tokens = choice.get("token_ids")
        if tokens is None:
            # Only the number of tokens is known: the usage needs the length, and the ids are placeholders.
            tokens = [-1] * (usage.get("completion_tokens") or len(logprobs or ()))
        return Completion(
            request_id=request.id,
            # The key is removed in case the server repeats it.
            text=without(text, self._secrets),
            tokens=tuple(tokens),
            finish=finish,
            prompt_tokens=usage.get("prompt_tokens", 0),
            logprobs=logprobs,
            top_logprobs=top,
            top_texts=texts,
            cached_tokens=cached_tokens(usage),
            reasoning=None if reasoning is None else without(reasoning, self._secrets),
            tool_calls=None if calls is None else without_secrets(calls, self._secrets),
        )


def cached_tokens(usage: Json) -> int:
    """Return the prompt tokens that the server had cached, in OpenAI's form or in DeepSeek's.

    ``usage``: what is :func:`usable` of it.
    """
    details = usage.get("prompt_tokens_details") or {}
    return int(details.get("cached_tokens") or usage.get("prompt_cache_hit_tokens") or 0)


def _content(message: Json) -> tuple[str, str | None]:
    """Return a message's text and its reasoning, each from a field of its own or among the parts of a
    list."""
    content = message.get("content")
    thoughts = _text_of(message.get("reasoning_content")) or _text_of(message.get("reasoning"))
    if not isinstance(content, list):
        return content or "", thoughts.strip() or None
    texts: list[str] = []
    thinking: list[str] = [thoughts]
    for part in content:
        if isinstance(part, str):
            texts.append(part)
        elif part.get("type") == "thinking":
            thought = part["thinking"]
            thinking += [thought] if isinstance(thought, str) else [each["text"] for each in thought]
        elif "text" in part:
            texts.append(part["text"])
    return "".join(texts), "".join(thinking).strip() or None


def _text_of(thoughts: object) -> str:
    """Return what was thought as one text: it is a text, or parts that are or have one."""
    if isinstance(thoughts, str):
        return thoughts
    if isinstance(thoughts, list):
        return "".join(_text_of(part) for part in thoughts)
    return _text_of(thoughts.get("text") or thoughts.get("content")) if isinstance(thoughts, dict) else ""


def _without_old_thoughts(messages: Sequence[Message]) -> list[Json]:
    """Return the turns without what was thought before the user's last one.

    Chat templates leave it out too, and some servers refuse it. Within a turn of several calls it stays.
    """
    last = max((place for place, turn in enumerate(messages) if turn["role"] == "user"), default=0)
    return [
        {name: value for name, value in turn.items() if name != "reasoning_content" or place > last}
        for place, turn in enumerate(messages)
    ]


def _finish(choice: Json, message: Json) -> str:
    """Return how a completion ended: ``stop`` or ``length``. Raises Trouble if it is not to be used."""
    said = str(choice.get("finish_reason") or "").lower()
    if message.get("refusal"):
        raise Trouble("refused", f"the model refused: {message['refusal']}")
    if said in _WITHHELD:
        raise Trouble("refused", f"the server's content filter withheld the answer ({said})")
    if said in _BROKEN:
        raise Trouble("broken", f"an answer that is not a completion: it ended with {said!r}")
    if said not in _STOP | _LENGTH:
        raise Trouble("refused", f"the answer ended with {said!r}")
    return "length" if said in _LENGTH else "stop"


def _logprobs(said: Json, wanted: int) -> tuple[tuple[float, ...], tuple[tuple[float, ...], ...]]:
    """Read the log-probabilities of the sampled and the likeliest tokens, in chat or completions form."""
    if said.get("content") is not None:
        sampled = [position["logprob"] for position in said["content"]]
        likeliest = [[entry["logprob"] for entry in position["top_logprobs"]] for position in said["content"]]
    else:
        sampled = said["token_logprobs"]
        # The server adds the sampled token if it is not among the likeliest.
        likeliest = [
            list((position or {}).values()) for position in said["top_logprobs"] or [{} for _ in sampled]
        ]
    if not all(value is None or is_number(value) for values in (sampled, *likeliest) for value in values):
        raise Trouble("broken", "an answer that is not a completion: a log-probability is no number")
    return tuple(sampled), tuple(tuple(sorted(values, reverse=True)[:wanted]) for values in likeliest)


def is_number(value: object) -> bool:
    """Whether it can be a log-probability: a number that fits into a float, or minus infinity."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return abs(value) <= sys.float_info.max or value == -math.inf


def _texts(said: Json, wanted: int) -> tuple[tuple[str, ...], ...]:
    """Read the texts of the likeliest tokens, in descending order of probability."""
    if said.get("content") is not None:
        places = [
            {entry["token"]: entry["logprob"] for entry in position["top_logprobs"]}
            for position in said["content"]
        ]
    else:
        places = [position or {} for position in said["top_logprobs"] or ()]
    return tuple(tuple(sorted(place, key=place.__getitem__, reverse=True)[:wanted]) for place in places)
