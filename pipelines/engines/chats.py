"""Prompts and answers of an engine that serves a model and adapters, each with its own chat template."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...contracts.chat_templates import ChatTemplates
from ...contracts.errors import EngineError, ModelError
from ...contracts.inference import Completion, Request
from .answers import AnswerReader
from .prompts import Prompts, RequestTokens, trained_templates
from .tool_calls import ReadCalls


@dataclass(frozen=True, slots=True)
class ServedTemplate:
    """One chat template: writes prompts with it, and reads what the model wrote."""

    prompts: Prompts
    reader: AnswerReader


class Chats:
    """Writes the prompt of each request, and reads its answer, with the chat template of its adapter.

    ``make``: makes the prompts of an adapter, or of the model alone. ``own``: the adapter of requests that
    name none. ``calls``: returns what reads calls of tools, given the tokenizer. ``alike``: all must mark
    thoughts as the first, by whose markers the engine limits them. Safe to call from several threads.
    """

    def __init__(
        self,
        make: Callable[[Path | None], Prompts],
        own: Path | None,
        calls: Callable[[Any], ReadCalls | None],
        *,
        alike: bool = False,
    ) -> None:
        self._make, self._calls, self._adapter, self._alike = make, calls, own, alike
        self._lock = threading.Lock()
        self._templates: dict[Path | None, ChatTemplates] = {}
        self._chats: dict[ChatTemplates, ServedTemplate] = {}
        #: That of requests that name no adapter.
        self.own = self._of(own)

    def tokens(self, requests: Sequence[Request]) -> list[RequestTokens]:
        """Return the token ids of each request. Raises EngineError as :meth:`Prompts.tokens` does, or if an
        adapter's chat template does not fit the engine's settings."""
        places: dict[Path | None, list[int]] = {}
        for place, request in enumerate(requests):
            places.setdefault(request.adapter, []).append(place)
        found: dict[int, RequestTokens] = {}
        for adapter, own in places.items():
            try:
                prompts = self._of(adapter).prompts
            except ModelError as error:
                raise EngineError(f"adapter {adapter}: {error}", retryable=False) from None
            found.update(zip(own, prompts.tokens([requests[place] for place in own]), strict=True))
        return [found[place] for place in range(len(requests))]

    def read(self, request: Request, completion: Completion, *, begun: bool = False) -> Completion:
        """Return the completion with its parts apart, as :meth:`AnswerReader.read` does."""
        return self._of(request.adapter).reader.read(request, completion, begun=begun)

    def _of(self, adapter: Path | None) -> ServedTemplate:
        adapter = adapter or self._adapter
        with self._lock:
            if adapter not in self._templates:
                templates = trained_templates(adapter)
                # The students of a loop share their templates, and a tokenizer takes a while to load.
                if templates not in self._chats:
                    self._chats[templates] = self._chat(adapter)
                self._templates[adapter] = templates
            return self._chats[self._templates[adapter]]

    def _chat(self, adapter: Path | None) -> ServedTemplate:
        prompts = self._make(adapter)
        first = next(iter(self._chats.values()), None)
        if self._alike and first is not None and prompts.markers != first.prompts.markers:
            raise ModelError(
                f"thinking_tokens: its chat template ends a thought with {prompts.markers.closing!r}, and "
                f"that of the model with {first.prompts.markers.closing!r}. One engine limits only one kind: "
                "leave out `resident`"
            )
        reader = AnswerReader(prompts.tokenizer, prompts.markers, self._calls(prompts.tokenizer))
        return ServedTemplate(prompts, reader)
