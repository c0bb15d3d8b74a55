"""``generate: respond``: a model answers each row's prompt, once or several times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from ...contracts.errors import DataError
from ...contracts.inference import Message, Request
from ...contracts.mistakes import at
from ...contracts.operators import no_column
from ...contracts.outcomes import Filtered, Kept, Outcome
from ...contracts.rows import Row, turns
from .conversations import conversation, with_system
from .generator import Generator
from .sampling_loop import Answer, ToRequest

if TYPE_CHECKING:
    import pyarrow as pa

    from ...contracts.operators import Context


class Respond(Generator):
    """Answers each row's prompt, or continues its conversation, one or several times.

    Each answer becomes a new row with its parent's columns. Empty answers are always filtered. In a
    conversation, the answer is appended.

    Reads:
        prompt (text): question to answer.
        messages (list of turns): conversation to continue, if `prompt` is null or missing.
        system (text): system prompt of the row, if it has one.

    Adds:
        response (text): the answer.
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

    Filters:
        empty: an answer without text.
        truncated: an answer that `max_tokens` truncated, with `on_length: filter`.

    Example:
        answers: {generate: respond, from: tasks, model: base, samples: 4, temperature: 0.8, logprobs: 20}
    """

    system: str | None = None
    """System prompt of rows that have none of their own."""
    record_tokens: bool = False
    """Record the ids of the answer's tokens, which `train: grpo` reads. By default they are not."""
    on_length: Literal["keep", "filter"] = "keep"
    """Whether to `keep` or `filter` an answer that `max_tokens` truncated."""

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
            "messages": pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())])),
        }

    def check_columns(self, columns: Sequence[str]) -> None:
        if "prompt" not in columns and "messages" not in columns:
            raise DataError(
                "`generate: respond` answers the column 'prompt' or 'messages': "
                f"{no_column('prompt', columns)}"
            )
        with at("check"):
            self.check_verifier(columns)

    def request(self, context: Context) -> ToRequest:
        sampling = self.sampling()

        def request(row: Row) -> Request:
            return Request("", 0, sampling, messages=tuple(self._asked(row)))

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
            "response": answer.text,
            "sample": answer.ordinal,
            "finish": completion.finish,
            "prompt_tokens": completion.prompt_tokens,
            "completion_tokens": len(completion.tokens),
            **answer.confidence(),
        }
        if self.record_tokens:
            made["response_tokens"] = list(completion.tokens)
        if not isinstance(row.get("prompt"), str):
            made["messages"] = [*conversation(row), {"role": "assistant", "content": answer.text}]
        if not answer.text.strip():
            return [Filtered("empty", row=made)]
        if completion.finish == "length" and self.on_length == "filter":
            return [Filtered("truncated", row=made)]
        return [Kept(made)]
