"""What a model thought, apart from its answer.

A thinking model writes its thought between two markers, and then its answer. Some chat templates write the
opening marker into the prompt, so that only the closing one is generated. Servers with a reasoning parser do
this splitting themselves; here it is done for all others, and for the engines of this machine.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from pydantic import field_validator

from ...contracts.errors import ModelError
from ...contracts.frozen import Frozen
from ...contracts.thinking_markers import KNOWN, Markers, markers_in

#: The variables by which chat templates are told whether to think.
_SWITCHES = {
    "enable_thinking": r"\benable_thinking\b",
    "thinking": r"(?<![\w.'\"])thinking is (?:not )?defined",
}


class ThinkingSettings(Frozen):
    """How a model thinks."""

    enabled: bool | None = None
    """Whether the model is told to think. By default its chat template or its server decides."""
    markers: tuple[str, str] | None = None
    """What opens and closes a thought, as `["<think>", "</think>"]`. By default the pair that the chat
    template or the tokenizer has; behind a server, that of the answer."""

    @field_validator("markers")
    @classmethod
    def _are_texts(cls, markers: tuple[str, str] | None) -> tuple[str, str] | None:
        if markers is not None and not all(marker.strip() for marker in markers):
            raise ValueError("a marker is empty")
        return markers


#: `auto`, whether to think, or settings.
Thinking: TypeAlias = Literal["auto"] | bool | ThinkingSettings


def settings_of(thinking: Thinking) -> ThinkingSettings:
    if isinstance(thinking, ThinkingSettings):
        return thinking
    return ThinkingSettings(enabled=None if thinking == "auto" else bool(thinking))


@dataclass(frozen=True, slots=True)
class ModelTemplate:
    """How a model's chat template is told to render. ``arguments``: values of its variables."""

    thinking: ThinkingSettings = field(default_factory=ThinkingSettings)
    arguments: Mapping[str, Any] = field(default_factory=dict)


def split_by_any(text: str, settings: ThinkingSettings) -> tuple[str, str | None]:
    """Split an answer whose model is not known, by the given markers or by those that it begins with."""
    if settings.markers is not None:
        return Markers(*settings.markers).split(text)
    start = text.lstrip()
    # Only the closing marker is in the answers of templates that open the thought in the prompt.
    markers = next((each for each in KNOWN if start.startswith(each.opening)), KNOWN[0])
    return markers.split(text)


def markers_of(settings: ThinkingSettings, tokenizer: Any) -> Markers:
    """Return the markers of a model: the given ones, or those in its chat template or its vocabulary."""
    if settings.markers is not None:
        return Markers(*settings.markers)
    return markers_in(template_text(tokenizer), *tokenizer.get_added_vocab())


def template_switch(settings: ThinkingSettings, tokenizer: Any) -> dict[str, bool]:
    """Return the template's variable that tells the model whether to think; nothing if it is not told.

    Raises ModelError if the template has none.
    """
    if settings.enabled is None:
        return {}
    template = template_text(tokenizer)
    for name, written in _SWITCHES.items():
        if re.search(written, template):
            return {name: settings.enabled}
    raise ModelError(
        f"thinking: {str(settings.enabled).lower()}: the model's chat template has no variable "
        f"{' or '.join(_SWITCHES)}: leave `thinking` out, or give the template's own with "
        "`chat_template_kwargs`"
    )


def template_text(tokenizer: Any) -> str:
    """Return the chat templates of a tokenizer as one text."""
    template = tokenizer.chat_template
    return "\n".join(template.values()) if isinstance(template, dict) else template or ""
