"""``generate: complete``: a model continues a text without a chat template, or writes the user's turn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from ...contracts.inference import Capability, Message, Request
from ...contracts.rows import Row
from ..prompts import find_prompt
from .conversations import waiting_for_user, with_system
from .sampling_loop import Answer, ToRequest
from .template import Template, system_prompt

if TYPE_CHECKING:
    from ...contracts.context import Context


class Complete(Template):
    """Lets a model continue a text without a chat template, or write the user's turn.

    ``opening: text`` suits base models: the text holds few-shot examples, or the first half of a document.
    ``opening: user`` lets an aligned model write what a user might ask, as in Magpie (Xu et al., arXiv
    2406.08464). Each record that the parser finds in an answer becomes a new row with its parent's columns.

    Adds:
        sample (int32): index of the answer among the row's answers, from 0.
        item (int32): index of the record in the answer, from 0.
        answer (text): text of an answer that did not parse, in the failed row.
        messages (list of turns): the conversation with the user's turn appended, with `conversation: true`.
        logprobs (list of float32): log-probabilities of the whole answer, where `logprobs` asks for them;
            with it `top_logprobs` and `vocab_size`.

    Example:
        drafts:
          generate: complete
          from: shown
          model: base
          template: few_shot.jinja
          stop: "\\n"
          parser: {kind: text, column: draft}
        asked:
          generate: complete
          opening: user
          from: slots
          model: chat
          parser: {kind: text, column: prompt}
    """

    template: str = ""
    """Text to continue: a packaged prompt's name, the path of a `.jinja` file, or the text itself. The row's
    columns are its variables. Required with `opening: text`; not taken with `opening: user`."""
    opening: Literal["text", "user"] = "text"
    """`text` continues the text that `template` renders from the row; set `stop` with it. `user` lets the
    model continue its own chat template where the user's text begins."""

    def model_post_init(self, context: Any) -> None:
        super().model_post_init(context)
        if self.opening == "text" and not self.template:
            raise ValueError("required, but missing: `template`, which gives the text to continue")
        if self.opening == "user" and self.template:
            raise ValueError("with `opening: user` the model writes the user's turn: leave `template` out")
        if self.opening == "text" and (self.system is not None or self.conversation):
            raise ValueError("a text has no turns: `system` and `conversation` go with `opening: user`")

    def content(self) -> Mapping[str, str]:
        digests = {"template": find_prompt(self.template).digest} if self.template else {}
        return digests if self.system is None else {**digests, "system": system_prompt(self.system).digest}

    def needs(self) -> Mapping[str, frozenset[Capability]]:
        more: frozenset[Capability] = frozenset({"user_turn"} if self.opening == "user" else ())
        return {"model": self.sampling().needs() | more}

    def request(self, context: Context) -> ToRequest:
        sampling = self.sampling()
        if self.opening == "text":
            prompt = find_prompt(self.template).renderer()
            return lambda row: Request("", 0, sampling, prompt=self.filled(prompt, row))
        system = None if self.system is None else system_prompt(self.system).renderer()

        def request(row: Row) -> Request:
            told = None if system is None else self.filled(system, row)
            before = with_system(waiting_for_user(row) if self.conversation else [], told)
            return Request("", 0, sampling, messages=tuple(before), opening="user")

        return request

    def turn(self, answer: Answer) -> Message:
        return {"role": "user", "content": answer.text.strip()}
