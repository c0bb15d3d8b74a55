"""``generate: complete``: a model goes on with a text, outside any conversation, or writes the user's turn itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from ..pipelines.inference import Capability, Message, Request
from ..pipelines.records import Row
from .conversations import waiting_for_user, with_system
from .prompts import find_prompt
from .template import Template, system_prompt
from .trying import ToRequest

if TYPE_CHECKING:
    from ..pipelines.operator import Context


class Complete(Template):
    """New rows from how a model goes on.

    ``opening: text``: with the text that ``template`` makes of the row, as it is, without a chat template: what a
    base model is for (few-shot examples, the first half of a text). Give ``stop``, or it goes on until ``max_tokens``.

    ``opening: user``: with its own chat template up to where a user's text begins (after ``system``, or the
    model's own system prompt): an aligned model then writes what a user might ask, as in Magpie (Xu et al., "Magpie:
    Alignment Data Synthesis from Scratch by Prompting Aligned LLMs with Nothing", arXiv 2406.08464). It takes no
    ``template``. With ``conversation`` the user's turn follows the row's ``messages`` and is appended to them.

    ``parser`` and the new columns are those of ``generate: template``.
    """

    template: str = ""
    opening: Literal["text", "user"] = "text"

    def model_post_init(self, context: Any) -> None:
        super().model_post_init(context)
        if self.opening == "text" and not self.template:
            raise ValueError("required, and missing: `template`, which makes the text to go on with")
        if self.opening == "user" and self.template:
            raise ValueError("`opening: user` lets the model write the user's turn: leave `template` out")
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

    def turn(self, text: str) -> Message:
        return {"role": "user", "content": text.strip()}
