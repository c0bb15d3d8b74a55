"""The chat template that a training renders conversations with.

It is the tokenizer's own, a packaged one by name, or a file. Its arguments (``enable_thinking``) become
defaults at its top, so that the template saved with the student renders as in training on any server. A
template that writes today's date gets a fixed one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...contracts.errors import DataError, ModelError, first_line
from ...contracts.nearest import did_you_mean
from ...contracts.thinking_markers import markers_in
from .named_templates import NAMED_TEMPLATES
from .turns import THOUGHTS, Turn, in_parts, text_of, thought_of, with_text_arguments
from .unfit import Unfit

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

#: The date that templates get: Llama 3.2's own, where no clock is at hand.
DATE = date(2024, 7, 26)
#: Stands for the text of a turn.
MARK = "gristmill"
#: A question and its answer.
PROBE: list[Turn] = [{"role": "user", "content": "Hello."}, {"role": "assistant", "content": MARK}]


@dataclass(frozen=True)
class _CallForm:
    """How a template takes a turn that calls.

    ``text``: with its arguments as JSON text, as OpenAI's API writes them. ``null``: with null for an empty
    content.
    """

    text: bool
    null: bool

    def applied(self, turn: Turn) -> Turn:
        if "tool_calls" not in turn:
            return turn
        turn = with_text_arguments(turn) if self.text else turn
        return turn if turn["content"] else turn | {"content": None if self.null else ""}


#: The usual form first.
CALL_FORMS = [_CallForm(text, null) for null in (False, True) for text in (False, True)]


@dataclass(frozen=True)
class TemplateOptions:
    """``template``: a packaged name or the path of a file; None for the tokenizer's own.

    ``arguments``: variables of the template. ``today``: the date of a template that writes today's.
    """

    template: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    today: date = DATE

    def text(self) -> str | None:
        """Return the text of the template, None for the tokenizer's own.

        Raises DataError if it cannot be read.
        """
        if self.template is None or self.template in NAMED_TEMPLATES:
            return NAMED_TEMPLATES.get(self.template or "")
        try:
            return Path(self.template).expanduser().read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            meant = did_you_mean(self.template, NAMED_TEMPLATES)
            raise DataError(
                f"chat_template: {self.template!r} is neither a packaged template "
                f"({', '.join(NAMED_TEMPLATES)}) nor a file that can be read ({error}){meant}"
            ) from None

    def defaults(self) -> str:
        """Return the start of a template that sets the arguments, unless a caller gives its own."""
        return "".join(
            f"{{%- if {name} is not defined -%}}{{%- set {name} = {_literal(value)} -%}}{{%- endif -%}}"
            for name, value in self.arguments.items()
        )


class ChatTemplate:
    """Renders conversations with the template of ``path`` and ``options``.

    ``text``: the template as the student gets it. Raises ModelError if there is none, or if it does not
    render a question and its answer.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, options: TemplateOptions, path: Path) -> None:
        self._tokenizer = tokenizer
        own, given = tokenizer.chat_template, options.text()
        if given is None and not own:
            raise ModelError(
                f"{path}: the tokenizer has no chat template; train an instruct model, or give one with "
                f"chat_template: NAME ({', '.join(NAMED_TEMPLATES)}) or the path of a file"
            )
        if options.template in NAMED_TEMPLATES and _starts_texts(tokenizer):
            given = "{{- bos_token -}}" + (given or "")
        several = own if given is None and isinstance(own, dict) else {"default": given or own}
        self._templates = {name: options.defaults() + str(text) for name, text in several.items()}
        self.text: str | dict[str, str] = self._templates
        if list(self._templates) == ["default"]:
            self.text = self._templates["default"]
        self._now = datetime.combine(options.today, time(12))
        self._parts = False
        self._parts = self._needs_parts(path)
        self._calls: _CallForm | None = None
        self._thought = self._find_thought()
        self._markers = markers_in(*self._templates.values(), *tokenizer.get_added_vocab())

    def with_thoughts(self, turns: Sequence[Turn], number: int) -> list[Turn]:
        """Return the turns with their thoughts as this template takes them, for the answer in
        ``turns[number]``.

        A template that knows thoughts gets them in its own key, and leaves out those that it does not want.
        For any other, the thoughts since the user's last turn stand between markers before their answers, and
        earlier ones are left out, as thinking models are served.
        """
        if all(thought_of(turn) is None for turn in turns):
            return list(turns)
        asked = max((place for place in range(number) if turns[place]["role"] == "user"), default=-1)
        return [self._with_thought(turn, written=place > asked) for place, turn in enumerate(turns)]

    def _with_thought(self, turn: Turn, *, written: bool) -> Turn:
        thought = thought_of(turn)
        if thought is None:
            return turn
        turn = {key: value for key, value in turn.items() if key not in THOUGHTS}
        if self._thought is not None:
            return turn | {self._thought: thought}
        if not written:
            return turn
        return turn | {"content": self._markers.joined(thought, text_of(turn["content"]))}

    def _find_thought(self) -> str | None:
        """Return the key in which the template takes what was thought before an answer; None if in none."""
        for key in THOUGHTS:
            try:
                if "lookup" in self.render([PROBE[0], PROBE[1] | {key: "lookup"}]):
                    return key
            except Unfit:
                continue
        return None

    def render(
        self, turns: Sequence[Turn], tools: list[dict[str, Any]] | None = None, *, opening: bool = False
    ) -> str:
        """Render ``turns``, with ``opening`` up to where the assistant's next turn begins.

        Raises Unfit, with the template's own words, if it does not take them.
        """
        if any("tool_calls" in turn for turn in turns):
            self._calls = self._calls or self._find_call_form()
            turns = [self._calls.applied(turn) for turn in turns]
        turns = [in_parts(turn) for turn in turns] if self._parts else list(turns)
        try:
            return self._apply(turns, tools, opening)
        except Exception as error:  # a template may raise anything: of roles that it refuses, missing keys
            said = first_line(error) or type(error).__name__
            raise Unfit(
                "refused by the chat template", f"the model's chat template does not take these turns: {said}"
            ) from None

    def _apply(self, turns: list[Turn], tools: Any, opening: bool) -> str:
        named = "tool_use" if tools and "tool_use" in self._templates else "default"
        if named not in self._templates:
            named = next(iter(self._templates))
        text = self._tokenizer.apply_chat_template(
            turns,
            tools=tools,
            chat_template=self._templates[named],
            add_generation_prompt=opening,
            tokenize=False,
            strftime_now=self._now.strftime,
        )
        return str(text)

    def _find_call_form(self) -> _CallForm:
        """Return the form of a call that the template writes in full; the usual one if it writes none."""
        function = {"name": "lookup", "arguments": {"place": MARK}}
        call: Turn = {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"type": "function", "function": function}],
        }
        for self._calls in CALL_FORMS:
            try:
                text = self.render([PROBE[0], call])
            except Unfit:
                continue
            if "lookup" in text and MARK in text and "None" not in text:
                return self._calls
        return CALL_FORMS[0]

    def _needs_parts(self, path: Path) -> bool:
        """Whether the template leaves a text out unless it comes as a list of parts."""
        found, said = [], ""
        for self._parts in (False, True):
            try:
                found.append(MARK in self.render(PROBE))
            except Unfit as error:
                said = said or str(error)
                found.append(False)
        if not any(found):
            raise ModelError(
                f"{path}: its chat template does not render a question and its answer"
                f"{f' ({said})' if said else ''}; correct it, or give another with chat_template"
            )
        return not found[0]


def _starts_texts(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the tokenizer begins each text with its ``bos_token``."""
    begin = tokenizer.bos_token_id
    return begin is not None and tokenizer("a")["input_ids"][:1] == [begin]


def _literal(value: Any) -> str:
    """Return a JSON value as Jinja writes it."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_literal(key)}: {_literal(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_literal, value)) + "]"
    # Jinja reads \ud83d\ude00 as two characters, so that no escapes are written.
    return "none" if value is None else json.dumps(value, ensure_ascii=False)
