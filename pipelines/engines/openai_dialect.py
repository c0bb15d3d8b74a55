"""What one server takes in a request, learned from its refusals."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from .openai_trouble import Trouble, texts

Json = dict[str, Any]

#: Fields that a request can do without: its answer is then sampled or thought out in another way.
OPTIONAL = (
    "seed", "temperature", "top_p", "top_k", "min_p", "repetition_penalty", "reasoning_effort",
    "chat_template_kwargs",
)  # fmt: skip
#: Fields whose absence is no question of sampling: the step requires them.
_REQUIRED = ("stop", "logprobs", "top_logprobs", "response_format", "structured_outputs", "tools")
#: Fields about how a request is handled: vLLM takes them with a prompt of tokens too.
_HANDLING = frozenset({"cache_salt", "priority", "session_id", "user"})
#: Fields that shorten a prompt.
_SHORTENING = frozenset({"truncate_prompt_tokens", "truncation_side"})
_UNKNOWN = re.compile(
    r"unsupported|not supported|n[o']t support|unrecogni[sz]ed|unknown|unexpected|not permitted|forbidden"
    r"|cannot find field|not allowed|deprecated",
    re.I,
)


class Dialect:
    """Adds a model's own fields to each request, and leaves out what its server proved not to take.

    ``extra``: fields for every request. ``unsupported``: whether a refused field of :data:`OPTIONAL` is
    dropped, or stops the run. ``max_tokens`` becomes ``max_completion_tokens`` where the server asks for it.
    """

    def __init__(
        self, extra: Mapping[str, Any] | None = None, unsupported: Literal["refuse", "drop"] = "refuse"
    ) -> None:
        self._extra = dict(extra or {})
        self._unsupported = unsupported
        self._dropped: set[str] = set()
        self._renames = False

    def spoken(self, body: Json) -> Json:
        """Return the body as this server takes it."""
        return self._taken({**body, **self._extra})

    def scoring(self, body: Json) -> Json:
        """Return a body that has a text rendered, scored or rated, whose own fields stay as they are.

        Nothing is shortened. A prompt of tokens is rendered already, and the other fields would only sample.
        """
        names = self._extra.keys() - _SHORTENING
        if isinstance(body.get("prompt"), list):
            names &= _HANDLING
        return self._taken({**{name: self._extra[name] for name in names}, **body})

    def _taken(self, body: Json) -> Json:
        body = {name: value for name, value in body.items() if name not in self._dropped}
        if self._renames and "max_tokens" in body:
            body["max_completion_tokens"] = body.pop("max_tokens")
        return body

    def learn(self, trouble: Trouble, body: Json) -> str | None:
        """Learn from the refusal of ``body``.

        Returns what to tell the user: an empty text if there is nothing new to tell, None if the refusal is
        not about a field. Raises Trouble, which stops the run, if the field must not be dropped.
        """
        if trouble.kind != "refused" or trouble.status not in (400, 422):
            return None
        told = " ".join(texts(trouble.said))
        if "max_completion_tokens" in told and "max_tokens" in body:
            self._renames = True
            return ""
        field = _field(told, body, (*OPTIONAL, *_REQUIRED, *self._extra)) if _UNKNOWN.search(told) else None
        if field is None:
            return None
        if field in _REQUIRED or field not in OPTIONAL or self._unsupported == "refuse":
            fix = "leave it out"
            if field in OPTIONAL:
                fix += ", or let it be dropped with `unsupported: drop`"
            raise Trouble("stop", f"it does not take {field!r} ({trouble.reason}): {fix}")
        new = field not in self._dropped
        self._dropped.add(field)
        return f"does not take {field!r}: it is left out of the requests" if new else ""


def _field(told: str, body: Json, names: tuple[str, ...]) -> str | None:
    """Return the field of ``body`` that a refusal names."""
    found = [
        (place.start(), name)
        for name in dict.fromkeys(names)
        if name in body and (place := re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", told))
    ]
    return min(found)[1] if found else None
