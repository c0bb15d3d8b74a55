"""``generate: respond``: a model answers each row's prompt, once or several times."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, field_validator

from ...contracts.errors import DataError
from ...contracts.inference import Capability, Message, Request
from ...contracts.mistakes import at
from ...contracts.operators import no_column
from ...contracts.outcomes import Filtered, Kept, Outcome
from ...contracts.rows import Row, assistant_turn, turns
from .conversations import continued, conversation, with_system
from .generator import Generator
from .sampling_loop import Answer, ToRequest
from .tools import call_type, tools_in, tools_text

if TYPE_CHECKING:
    import pyarrow as pa

    from ...contracts.context import Context


#: The column of tools that exports and training read.
_TOOLS = "tools"


class Respond(Generator):
    """Answers each row's prompt, or continues its conversation, one or several times.

    Each answer becomes a new row with its parent's columns. Empty answers are always filtered. In a
    conversation, the answer is appended. What a thinking model thought is not part of the answer, but a
    column of its own. With ``tools``, the model may answer with calls.

    Reads:
        prompt (text): question to answer.
        messages (list of turns): conversation to continue, if `prompt` is null or missing.
        system (text): system prompt of the row, if it has one.
        the column that `tools` names, if it names one.

    Adds:
        response (text): the answer; null if it consists of calls.
        reasoning (text): what a thinking model thought before the answer.
        tool_calls (list of calls): calls of tools in OpenAI's form (id, type, function with its name and its
            arguments as JSON text), if the model called any.
        sample (int32): index of the answer among the row's answers, from 0.
        finish (text): `stop`, or `length` if `max_tokens` truncated the answer.
        prompt_tokens (int32): length of the request in tokens.
        completion_tokens (int32): length of the answer in tokens.
        logprobs (list of float32): log-probability of each token in nats, if `logprobs` is set.
        response_tokens (list of int32): ids of the answer's tokens, with the one that ended it, if
            `record_tokens` is set.
        top_logprobs (list of lists of float32): log-probabilities of the likeliest tokens at each position,
            in descending order.
        vocab_size (int32): size of the model's vocabulary, if `logprobs` is set and the engine knows it.
        messages (list of turns): the conversation with the answer, if the row is a conversation.
        tools (text): the tools that the model could call, as JSON, if they are those of the step or of
            another column: exports and training read this one.

    Filters:
        empty: an answer without text.
        truncated_thinking: a model that thought until `max_tokens` was reached, and gave no answer. Raise
            `max_tokens`, or limit what it thinks.
        truncated: an answer that `max_tokens` truncated, with `on_length: filter`.

    Example:
        answers: {generate: respond, from: tasks, model: base, samples: 4, temperature: 0.8, logprobs: 20}
    """

    reads_whole: ClassVar[bool] = True

    system: str | None = None
    """System prompt of rows that have none of their own. It becomes no part of the rows: for a student that
    is to have it too, add a column `system` before."""
    record_tokens: bool = False
    """Record the ids of the answer's tokens, which `train: grpo` reads. By default they are not."""
    on_length: Literal["keep", "filter"] = "keep"
    """Whether to `keep` or `filter` an answer that `max_tokens` truncated."""
    keep_reasoning: bool = False
    """Keep what was thought in the answer's turn of `messages` too, as `reasoning_content`. By default only
    the column `reasoning` has it."""
    tools: str | tuple[dict[str, Any], ...] | None = Field(default=None, union_mode="left_to_right")
    """Functions that the model may call: the name of a column that has them, or a list of them in OpenAI's
    form. A column holds a list or JSON text; a row that has none is asked without. By default there are
    none."""

    @field_validator("tools")
    @classmethod
    def _are_tools(
        cls, tools: str | tuple[dict[str, Any], ...] | None
    ) -> str | tuple[dict[str, Any], ...] | None:
        if tools is not None and not isinstance(tools, str):
            try:
                tools_text(tools)
            except DataError as error:
                raise ValueError(error.message) from None
        return tools

    def needs(self) -> Mapping[str, frozenset[Capability]]:
        more: frozenset[Capability] = frozenset({"tools"} if self.tools is not None else ())
        return {"model": self.sampling().needs() | more}

    def uses_columns(self) -> Iterable[str]:
        return (self.tools,) if isinstance(self.tools, str) else ()

    def made(self) -> Mapping[str, pa.DataType]:
        import pyarrow as pa

        return {
            "response": pa.string(),
            "sample": pa.int32(),
            "finish": pa.string(),
            "prompt_tokens": pa.int32(),
            "completion_tokens": pa.int32(),
            "logprobs": pa.list_(pa.float32()),
            "top_logprobs": pa.list_(pa.list_(pa.float32())),
            "vocab_size": pa.int32(),
            **({"response_tokens": pa.list_(pa.int32())} if self.record_tokens else {}),
            "reasoning": pa.string(),
            "tool_calls": pa.list_(call_type()),
            **({"tools": pa.string()} if self._records_tools() else {}),
        }

    def sparse_columns(self) -> Iterable[str]:
        return ("reasoning", "tool_calls")

    def _records_tools(self) -> bool:
        """Whether the rows get the column `tools`: those of the step, or of a column with another name."""
        return self.tools not in (None, _TOOLS)

    def check_columns(self, columns: Sequence[str]) -> None:
        if "prompt" not in columns and "messages" not in columns:
            raise DataError(
                "`generate: respond` answers the column 'prompt' or 'messages': "
                f"{no_column('prompt', columns)}"
            )
        with at("check"):
            self.check_verifier(columns)

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        found = super().makes_columns(columns)
        return None if found is None else list(dict.fromkeys([*found, "messages"]))

    def request(self, context: Context) -> ToRequest:
        sampling = self.sampling()

        given = None if self.tools is None or isinstance(self.tools, str) else tools_text(self.tools)

        def request(row: Row) -> Request:
            tools = tools_in(row, self.tools) if isinstance(self.tools, str) else given
            return Request("", 0, sampling, messages=tuple(self._asked(row)), tools=tools)

        return request

    def _asked(self, row: Row) -> list[Message]:
        """Return the conversation to continue. Raises DataError if there is none."""
        system = row.get("system") or self.system
        if isinstance(row.get("prompt"), str):
            return turns(row["prompt"], None, system)
        given = conversation(row)
        if not given:
            raise DataError("the row has neither a text in 'prompt' nor a conversation in 'messages'")
        if given[-1]["role"] == "assistant":
            raise DataError(
                "the conversation in 'messages' is answered already: its last turn is the assistant's"
            )
        return with_system(given, system)

    def read(self, row: Row, answer: Answer) -> list[Outcome]:
        completion = answer.completion
        made: Row = {
            "response": None if completion.tool_calls and not answer.text.strip() else answer.text,
            "sample": answer.ordinal,
            "finish": completion.finish,
            "prompt_tokens": completion.prompt_tokens,
            "completion_tokens": len(completion.tokens),
            **({_TOOLS: answer.request.tools} if self._records_tools() else {}),
            **answer.confidence(),
            **answer.thought(row),
        }
        if completion.tool_calls or row.get("tool_calls"):
            made["tool_calls"] = list(completion.tool_calls or ()) or None
        if self.record_tokens:
            made["response_tokens"] = list(completion.tokens)
        if not isinstance(row.get("prompt"), str):
            made["messages"] = continued(row, self._turn(answer))
        if completion.cut_thinking:
            return [Filtered("truncated_thinking", row=made)]
        if not answer.text.strip() and not completion.tool_calls:
            return [Filtered("empty", row=made)]
        if completion.finish == "length" and self.on_length == "filter":
            return [Filtered("truncated", row=made)]
        return [Kept(made)]

    def _turn(self, answer: Answer) -> Message:
        thought = answer.completion.reasoning if self.keep_reasoning else None
        return assistant_turn(answer.text, thought, list(answer.completion.tool_calls or ()))
