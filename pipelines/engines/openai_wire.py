"""Conversion to and from the OpenAI API, with the extensions of vLLM."""

from __future__ import annotations

import json
from typing import Any

from ...contracts.inference import Completion, Request

Json = dict[str, Any]


class Wire:
    """Writes request bodies for one model and reads the answers."""

    def __init__(self, model: str, *, vllm: bool) -> None:
        self._model = model
        self._vllm = vllm

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
            body["messages"] = [dict(turn) for turn in request.messages]
            if sampling.logprobs is not None:
                body |= {"logprobs": True, "top_logprobs": sampling.logprobs}
            return "/chat/completions", body
        body["prompt"] = request.prompt if request.prompt is not None else list(request.prompt_tokens or ())
        if sampling.logprobs is not None:
            body["logprobs"] = sampling.logprobs
        return "/completions", body

    def completion(self, request: Request, answer: Json) -> Completion:
        """Parse a completion. Raises KeyError, IndexError, TypeError or ValueError if it is not one."""
        choice = answer["choices"][0]
        usage = answer.get("usage") or {}
        if choice["finish_reason"] not in ("stop", "length"):
            raise ValueError(f"it ended with {choice['finish_reason']!r}")
        text = choice["message"]["content"] if "message" in choice else choice["text"]
        logprobs = top = texts = None
        if request.sampling.logprobs is not None:
            logprobs, top = _logprobs(choice["logprobs"], request.sampling.logprobs)
            if request.sampling.top_texts:
                texts = _texts(choice["logprobs"], request.sampling.logprobs)
        tokens = choice.get("token_ids")
        if tokens is None:
            # Only the number of tokens is known: the usage needs the length, and the ids are placeholders.
            tokens = [-1] * int(usage.get("completion_tokens") or len(logprobs or ()))
        details = usage.get("prompt_tokens_details") or {}
        return Completion(
            request_id=request.id,
            text=text or "",
            tokens=tuple(tokens),
            finish=choice["finish_reason"],
            prompt_tokens=int(usage.get("prompt_tokens") or 0),
            logprobs=logprobs,
            top_logprobs=top,
            top_texts=texts,
            cached_tokens=int(details.get("cached_tokens") or 0),
        )


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
    return tuple(sampled), tuple(tuple(sorted(values, reverse=True)[:wanted]) for values in likeliest)


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
