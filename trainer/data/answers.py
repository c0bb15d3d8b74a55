"""What a model generates in a conversation, found in what the chat template writes.

A server renders all turns before an answer, with the generation prompt; the model writes the rest, up to the
token at which the server stops. What it writes is therefore what the rendering of the answered conversation
has beyond the prompt as served: with the text that the template puts before the answer (Qwen3's empty think
block), with the whitespace that it adds or strips, and up to its end of turn.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ...contracts.errors import ModelError
from .chat_template import MARK, PROBE, ChatTemplate
from .turns import THOUGHTS, Turn, calls_of, function_of, text_of, with_call, with_name, written_by_model
from .unfit import Unfit

#: A tag at the start of a text.
_TAG = re.compile(r"\s*(<[^<>\s]+>)")


@dataclass(frozen=True, slots=True)
class GeneratedTurn:
    """One answer: ``prompt`` as it is served, and ``text``, which the model writes, with its end of turn."""

    prompt: str
    text: str

    @property
    def whole(self) -> str:
        return self.prompt + self.text


class Answers:
    """Finds answers in what ``template`` writes. ``stops``: the texts of the tokens at which a server stops.

    ``ending``: what the template writes after an answer, up to the first of them. Raises ModelError if there
    is none: the trained model would never stop.
    """

    def __init__(self, template: ChatTemplate, stops: Iterable[str], path: Path) -> None:
        self._template, self._stops, self._path = template, frozenset(stops), path
        prompt, whole = template.render(PROBE[:1], opening=True), template.render(PROBE)
        common = _common_start(prompt, whole)
        if PROBE[0]["content"] not in common:
            raise ModelError(
                f"{path}: its chat template changes a question once it is answered, so the trained text "
                "would differ from the served text; correct the template"
            )
        #: Length of what a server's prompt ends with, and an answered conversation lacks: ``<think>`` of
        #: DeepSeek-R1's distilled models.
        self._unserved = len(prompt) - len(common)
        self._ending_before = cache(self._find_ending)
        self.ending = self._ending(whole[whole.rindex(MARK) + len(MARK) :])

    def of(self, turns: Sequence[Turn], number: int, tools: list[dict[str, Any]] | None) -> GeneratedTurn:
        """Return the answer in ``turns[number]``. Raises Unfit if the template does not render all of it."""
        turn = turns[number]
        if any(stop in written_by_model(turn) for stop in self._stops):
            raise Unfit("end of turn inside", "the response contains the end-of-turn token itself")
        prompt = self._template.render(turns[:number], tools, opening=True)
        whole = self._template.render(turns[: number + 1], tools)
        text = text_of(turn["content"])
        for served in (prompt, prompt[: len(prompt) - self._unserved], _common_start(prompt, whole)):
            if whole.startswith(served):
                written = whole[len(served) :]
                self._check_beside_text(turns, number, tools, written)
                rest = _after_opening(served, text)
                if _holds(written, rest, at_start=rest != text):
                    return GeneratedTurn(served, self._ended(written, turn))
        # The template drops a part of the text: the thought of the answer, where the prompt opens it.
        if not isinstance(turn["content"], str) or calls_of(turn):
            raise _left_out(number, turn, "a part")
        return GeneratedTurn(prompt, _after_opening(prompt, text) + self.ending)

    def check_context(self, turns: Sequence[Turn], tools: list[dict[str, Any]] | None, prompt: str) -> None:
        """Raise Unfit if the prompt lacks one of its ``turns``: phi-3's template writes none of a tool."""
        for number, turn in enumerate(turns):
            for place, _ in enumerate(calls_of(turn)):
                self._check_call(turns, number, place, tools, prompt, opening=True)
            text = text_of(turn["content"]).strip()
            if turn["role"] == "assistant":  # whose thoughts are dropped
                text = text.rpartition("\n")[2].strip()
            if not text or calls_of(turn) or writes(prompt, text):
                continue
            marked = [*turns[:number], {**turn, "content": f"{text} {MARK}"}, *turns[number + 1 :]]
            if MARK not in self._template.render(marked, tools, opening=True):
                raise _left_out(number, turn, "the text")

    def check_tools(
        self, turns: Sequence[Turn], tools: list[dict[str, Any]] | None, *, opening: bool = False
    ) -> None:
        """Raise Unfit if the template does not write one of the ``tools``: DeepSeek's and ChatML write none.

        Calls have the names of tools too, so that marks in their place tell.
        """
        marks = {f"{MARK}_{place}_": tool for place, tool in enumerate(tools or ())}
        if not marks:
            return
        renamed = [with_name(tool, mark) for mark, tool in marks.items()]
        written = self._template.render(turns, renamed, opening=opening)
        for mark, tool in marks.items():
            if mark not in written:
                raise Unfit(
                    "left out by the chat template",
                    f"the model's chat template leaves out the tool {function_of(tool).get('name')!r}: give "
                    "another chat_template, such as hermes, or remove the column 'tools'",
                )

    def _check_beside_text(
        self, turns: Sequence[Turn], number: int, tools: list[dict[str, Any]] | None, written: str
    ) -> None:
        """Raise Unfit if calls, or a thought that stands beside the text, are not in what the template
        wrote.
        """
        turn = turns[number]
        for place, _ in enumerate(calls_of(turn)):
            self._check_call(turns[: number + 1], number, place, tools, written)
        for key in THOUGHTS:
            if isinstance(turn.get(key), str) and not _holds(written, turn[key]):
                raise _left_out(number, turn, repr(key))

    def _check_call(
        self,
        turns: Sequence[Turn],
        number: int,
        place: int,
        tools: list[dict[str, Any]] | None,
        written: str,
        *,
        opening: bool = False,
    ) -> None:
        """Raise Unfit if the template wrote no name, or no argument, of a call of ``turns[number]``.

        Templates escape texts in several ways. Where a text is not found as it is, or as JSON, the template
        writes it if it writes a mark in its place.
        """
        called = calls_of(turns[number])[place]
        name, arguments = called["name"], called["arguments"]
        what: dict[str, tuple[str, list[Any], Any]] = {"name": (f"the call of {name!r}", [name], MARK)}
        if isinstance(arguments, dict) and arguments:
            leaves = [*arguments, *(value for value in arguments.values() if isinstance(value, str))]
            what["arguments"] = (f"the arguments of {name!r}", leaves, dict.fromkeys(arguments, MARK))
        for key, (said, texts, mark) in what.items():
            if all(writes(written, text) for text in texts):
                continue
            marked = [*turns[:number], with_call(turns[number], place, {key: mark}), *turns[number + 1 :]]
            if MARK not in self._template.render(marked, tools, opening=opening):
                raise _left_out(number, turns[number], said)

    def _ended(self, written: str, turn: Turn) -> str:
        """Return what the template wrote, up to its end of turn."""
        end = self._end(written)
        if end is not None:
            return written[:end]
        return written + self._ending_before("tool" if calls_of(turn) else "user")

    def _ending(self, closing: str) -> str:
        """Return the end of a turn, given all that the template writes after the last answer."""
        end = self._end(closing)
        if end is not None:
            return closing[:end]
        if not closing.strip():  # GLM's answers end where the next turn begins
            return self._ending_before("user")
        raise self._never_stops(closing)

    def _find_ending(self, role: str) -> str:
        """Return what the template writes between an answer and the text of a turn of ``role`` after it."""
        try:
            whole = self._template.render([*PROBE, {"role": role, "content": "More."}])
        except Unfit:
            if role == "user":
                raise self._never_stops("") from None
            return self._ending_before("user")
        closing = whole[whole.rindex(MARK) + len(MARK) :].partition("More.")[0]
        end = self._end(closing)
        if end is None:
            raise self._never_stops(closing)
        return closing[:end]

    def _end(self, text: str) -> int | None:
        """Return the place right after the first stop in ``text``."""
        ends = [(text.index(stop), -len(stop)) for stop in self._stops if stop in text]
        if not ends:
            return None
        place, length = min(ends)
        return place - length

    def _never_stops(self, closing: str) -> ModelError:
        found = repr(closing.strip()[:40]) if closing.strip() else "nothing"
        stops = ", ".join(map(repr, sorted(self._stops))) or "no token"
        return ModelError(
            f"{self._path}: its chat template ends a turn with {found}, but generation stops at {stops}: the "
            "trained model would never stop; set eos_token to the end of turn, or give another chat_template"
        )


def _common_start(one: str, other: str) -> str:
    shorter = min(len(one), len(other))
    return one[: next((place for place in range(shorter) if one[place] != other[place]), shorter)]


def _after_opening(prompt: str, text: str) -> str:
    """Return the text without a tag at its start (``<think>``) that the prompt ends with already."""
    opening = _TAG.match(text)
    if opening is None or not prompt.rstrip().endswith(opening[1]):
        return text
    rest = text[opening.end() :]
    return rest.lstrip("\n") if prompt.endswith("\n") else rest


def writes(written: str, text: str) -> bool:
    """Whether ``written`` holds the text as it is or as a JSON string has it, with or without \\u escapes."""
    return any(
        each in written for each in (text, json.dumps(text, ensure_ascii=False)[1:-1], json.dumps(text)[1:-1])
    )


def _holds(written: str, text: str, *, at_start: bool = False) -> bool:
    """Whether ``written`` holds the text, or begins with it, whatever the whitespace."""
    if not at_start and text.strip() in written:
        return True
    squeezed, wanted = "".join(written.split()), "".join(text.split())
    return squeezed.startswith(wanted) if at_start else wanted in squeezed


def _left_out(number: int, turn: Turn, what: str) -> Unfit:
    return Unfit(
        "left out by the chat template",
        f"the model's chat template leaves out {what} of turn {number + 1} ({turn['role']}): write it as the "
        "model writes it into the content, or give another chat_template",
    )
