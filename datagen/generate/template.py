"""``generate: template``: a prompt rendered from each row, the answers of a model, and a parser for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic import Field

from ...contracts.inference import Message, Request
from ...contracts.mistakes import Collected
from ...contracts.outcomes import Failed, Kept, Outcome
from ...contracts.rows import Row, assistant_turn, turns
from ..parsers import AnyParser, TextParser, Unparsed
from ..prompts import Prompt, find_prompt
from ..prompts.collection import text_prompt
from ..prompts.template_mistakes import check_names, check_template, named
from .conversations import continued, with_user_turn
from .generator import Generator
from .sampling_loop import Answer, ToRequest

if TYPE_CHECKING:
    import pyarrow as pa

    from ...contracts.context import Context

#: Columns that describe the answer to the parent's prompt. They do not apply to a new prompt.
_STALE = (
    "response", "messages", "finish", "prompt_tokens", "completion_tokens", "logprobs", "top_logprobs",
    "vocab_size", "reasoning", "tool_calls",
)  # fmt: skip
_SHOWN = 80


class Template(Generator):
    """Renders a prompt from each row, asks a model, and parses its answers into new rows.

    Each record that the parser finds becomes a new row with the columns of its parent and of the parser. An
    answer that does not parse becomes a failed row with the reason. If the parser adds a ``prompt``, the
    columns that describe an answer to the parent's prompt (``response``, ``logprobs``, ...) are set to null.

    Adds:
        sample (int32): index of the answer among the row's answers, from 0.
        item (int32): index of the record in the answer, from 0.
        answer (text): text of an answer that did not parse, in the failed row.
        messages (list of turns): the conversation with both turns appended, with `conversation: true`.
        reasoning (text): what a thinking model thought before the answer, in the column that `reasoning`
            names; the parser sees the answer alone.
        logprobs (list of float32): log-probabilities of the whole answer, if `logprobs` is set,
            with `top_logprobs` and `vocab_size`.

    Example:
        questions:
          generate: template
          from: articles
          model: base
          template: questions_from_text
          variables: {count: 5}
          parser: {kind: numbered_list, column: prompt}
    """

    template: str
    """Prompt: a packaged prompt's name, the path of a `.jinja` file, or the text itself. The row's columns
    are its variables."""
    system: str | None = None
    """System prompt, which is also a template. By default there is none."""
    variables: dict[str, Any] = Field(default_factory=dict)
    """Additional variables of the templates, by name. They take precedence over columns."""
    parser: AnyParser = Field(default_factory=TextParser)
    """How to read an answer: `{kind: NAME, ...}` with that parser's parameters. By default the whole text
    goes into `response`."""
    guided: bool = False
    """Let the engine write only what the parser can read (`tags` with their pairs, in order), by constrained
    decoding. A thinking model then answers without a thought. An engine without constrained decoding answers
    freely. The default, false, leaves every answer free."""
    conversation: bool = False
    """Take the prompt as the next turn of the row's `messages`, and append both turns to them. The default,
    false, asks without a history."""
    reasoning: str | None = None
    """Column for what a thinking model thought before its answer. By default `reasoning` if the parser writes
    `response`, so that training has both; else none, and a thought about the answer of an earlier step stays
    with that answer."""
    keep_reasoning: bool = False
    """With `conversation: true`, keep what was thought in the turn that is appended, as `reasoning_content`.
    By default it is left out of `messages`."""

    def model_post_init(self, context: Any) -> None:
        super().model_post_init(context)
        if self.keep_reasoning and not self.conversation:
            raise ValueError("`keep_reasoning` is about `messages`: it goes with `conversation: true`")
        if self.guided and self.parser.readable() is None:
            raise ValueError(f"`guided` goes with the parser `tags`, and this step has {self.parser.kind!r}")
        if self.guided and (self.regex is not None or self.json_schema is not None):
            raise ValueError("`guided` takes the place of `regex` and `json_schema`: give one of them")

    def content(self) -> Mapping[str, str]:
        digests = {"template": find_prompt(self.template).digest}
        if self.system is not None:
            digests["system"] = system_prompt(self.system).digest
        if self.parser.version > 1:
            digests["parser"] = f"version {self.parser.version}"
        return digests

    def inspect(self) -> None:
        with Collected() as found:
            for field, prompt in self._prompts().items():
                with found.at(field):
                    check_template(prompt())

    def check_columns(self, columns: Sequence[str]) -> None:
        with Collected() as found:
            for field, prompt in self._prompts().items():
                with found.at(field):
                    check_names(prompt(), columns, self.variables)
            with found.at("check"):
                self.check_verifier(columns)

    def names_columns(self) -> Iterable[str]:
        return named(self._prompts().values()) - set(self.variables)

    def _prompts(self) -> dict[str, Callable[[], Prompt]]:
        """Return how to find the prompt of each parameter that is one."""
        found: dict[str, Callable[[], Prompt]] = {}
        if self.template:
            found["template"] = partial(find_prompt, self.template)
        if self.system is not None:
            found["system"] = partial(system_prompt, self.system)
        return found

    def made(self) -> Mapping[str, pa.DataType]:
        import pyarrow as pa

        turn = pa.struct([("role", pa.string()), ("content", pa.string())])
        floats = pa.list_(pa.float32())
        stale = {
            "response": pa.string(),
            **({} if self.conversation else {"messages": pa.list_(turn)}),
            "finish": pa.string(),
            "prompt_tokens": pa.int32(),
            "completion_tokens": pa.int32(),
            "logprobs": floats,
            "top_logprobs": pa.list_(floats),
            "vocab_size": pa.int32(),
        }
        thought = self._thought_column()
        return {
            **stale,
            **({} if thought is None else {thought: pa.string()}),
            **self.parser.types(),
            "sample": pa.int32(),
            "item": pa.int32(),
            "answer": pa.string(),
        }

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        found = super().makes_columns(columns)
        return None if found is None else list(dict.fromkeys([*found, "messages"]))

    def request(self, context: Context) -> ToRequest:
        sampling = self.sampling()
        if self.guided and "regex" in context.engine(self.model).capabilities:
            sampling = replace(sampling, regex=self.parser.readable())
        prompt = find_prompt(self.template).renderer()
        system = None if self.system is None else system_prompt(self.system).renderer()

        def request(row: Row) -> Request:
            said = self.filled(prompt, row)
            told = None if system is None else self.filled(system, row)
            messages = with_user_turn(row, said, told) if self.conversation else turns(said, None, told)
            return Request("", 0, sampling, messages=tuple(messages))

        return request

    def _thought_column(self) -> str | None:
        return self.reasoning or ("reasoning" if "response" in self.parser.types() else None)

    def sparse_columns(self) -> Iterable[str]:
        column = self._thought_column()
        return () if column is None else (column,)

    def read(self, row: Row, answer: Answer) -> list[Outcome]:
        column = self._thought_column()
        thought = {} if column is None else answer.thought(row, column)
        whole = answer.completion.finish == "stop"
        parsed = self.parser.parse(self.parser.closed(answer.text) if whole else answer.text)
        if isinstance(parsed, Unparsed):
            cut = ", cut off by max_tokens" if answer.completion.finish == "length" else ""
            return [
                Failed(
                    f"{self.parser.kind}: {parsed.reason}{cut}: {_short(answer.text)!r}",
                    row={**thought, "sample": answer.ordinal, "answer": _encodable(answer.text)},
                )
            ]
        outcomes: list[Outcome] = []
        for item, columns in enumerate(parsed):
            stale: Row = {}
            if "prompt" in columns:
                stale = dict.fromkeys((name for name in _STALE if name in row), None)
            if self.conversation:
                stale["messages"] = self._continued(row, answer)
            told = {**stale, **answer.confidence(), **thought, **columns}
            outcomes.append(Kept({**told, "sample": answer.ordinal, "item": item}))
        return outcomes

    def lacks(self, record: Row) -> bool:
        parsed = self.parser.types()
        judged = () if self.check is None else self.check.operator.uses_columns()
        return any(name in parsed and record.get(name) is None for name in judged)

    def _continued(self, row: Row, answer: Answer) -> list[Message]:
        """Return the row's conversation, its turns with all that they have, and the turns of this step."""
        asked, given = answer.request.messages or (), continued(row)
        own = bool(given) and given[0]["role"] == "system"
        told = asked[:1] if not own and asked and asked[0]["role"] == "system" else ()
        return [*told, *given, *asked[len(told) + len(given) :], self.turn(answer)]

    def turn(self, answer: Answer) -> Message:
        """Return an answer as the next turn of the conversation."""
        return assistant_turn(answer.text, answer.completion.reasoning if self.keep_reasoning else None)

    def filled(self, prompt: Callable[[Mapping[str, Any]], str], row: Row) -> str:
        """Render the prompt from the row's columns and ``variables``. Raises DataError."""
        return prompt({**{name: value for name, value in row.items() if name[0] != "_"}, **self.variables})


def system_prompt(text: str) -> Prompt:
    """Return a system prompt; plain text is a template without variables."""
    return text_prompt(text, "(inline)")


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _short(text: str) -> str:
    text = _encodable(text.strip())
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
