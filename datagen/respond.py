"""``generate: respond``: a model answers each row's prompt, several times where asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from ..pipelines.errors import EngineError
from ..pipelines.inference import Completion, Engine, Message, Request, derive_seed
from ..pipelines.operator import Apply, Failed, Filtered, Kept, Outcome
from ..pipelines.records import Row, turns
from .sampling import Generator, ask

if TYPE_CHECKING:
    import pyarrow as pa

    from ..pipelines.operator import Context


class Respond(Generator):
    """Answers ``prompt`` (or, where it is null or missing, the conversation in ``messages``).

    Each answer is a new row: its parent's columns and ``response``, ``sample`` (which of the row's
    answers), ``finish`` ("stop" or "length"), ``prompt_tokens``, ``completion_tokens`` and, where
    ``logprobs`` asks for them, ``logprobs`` (nats, one a token), ``top_logprobs`` (falling, the
    likeliest at each position) and ``vocab_size``. To a conversation the answer is appended.
    ``system``: the system prompt of rows that bring none. ``on_length: filter`` sets aside answers
    that ``max_tokens`` cut off; empty answers are always set aside.
    """

    system: str | None = None
    on_length: Literal["keep", "filter"] = "keep"

    def types(self) -> Mapping[str, pa.DataType]:
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
            "messages": pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())])),
        }

    def open(self, context: Context) -> Apply:
        engine, sampling, seed = context.engine(self.model), self.sampling(), context.seed

        async def apply(rows: list[Row]) -> list[list[Outcome]]:
            answers: list[list[Outcome]] = [[] for _ in rows]
            requests: list[Request] = []
            owners: list[tuple[int, int]] = []
            for index, row in enumerate(rows):
                asked = self._messages(row)
                if isinstance(asked, str):
                    answers[index] = [Failed(asked)]
                    continue
                for ordinal in range(self.samples):
                    draw = derive_seed(seed, row["_id"], ordinal)
                    requests.append(Request(f"{row['_id']}:{ordinal}", draw, sampling, messages=asked))
                    owners.append((index, ordinal))
            for (index, ordinal), completion in zip(owners, await ask(engine, requests), strict=True):
                answers[index].append(self._outcome(rows[index], ordinal, completion, engine))
            return answers

        return apply

    def _messages(self, row: Row) -> tuple[Message, ...] | str:
        """The conversation to go on with, or why there is none."""
        system = row.get("system") or self.system
        if isinstance(row.get("prompt"), str):
            return tuple(turns(row["prompt"], None, system))
        given = row.get("messages")
        if not given:
            return "the row has neither a text in 'prompt' nor a conversation in 'messages'"
        if any(
            not isinstance(turn.get("role"), str) or not isinstance(turn.get("content"), str)
            for turn in given
        ):
            return "every turn of 'messages' needs a role and a text"
        if given[-1]["role"] == "assistant":
            return "the conversation in 'messages' is answered already: its last turn is the assistant's"
        asked: list[Message] = [{"role": turn["role"], "content": turn["content"]} for turn in given]
        if system and asked[0]["role"] != "system":
            asked.insert(0, {"role": "system", "content": system})
        return tuple(asked)

    def _outcome(
        self, row: Row, ordinal: int, completion: Completion | EngineError, engine: Engine
    ) -> Outcome:
        if isinstance(completion, EngineError):
            return Failed(str(completion), retryable=False, row={"sample": ordinal})
        made = _columns(completion, ordinal)
        if self.logprobs is not None and engine.vocab_size is not None:
            made["vocab_size"] = engine.vocab_size
        if not isinstance(row.get("prompt"), str):
            made["messages"] = [*row["messages"], {"role": "assistant", "content": completion.text}]
        if not completion.text.strip():
            return Filtered("empty", row=made)
        if completion.finish == "length" and self.on_length == "filter":
            return Filtered("truncated", row=made)
        return Kept(made)


def _columns(completion: Completion, ordinal: int) -> Row:
    made: dict[str, Any] = {
        "response": completion.text,
        "sample": ordinal,
        "finish": completion.finish,
        "prompt_tokens": completion.prompt_tokens,
        "completion_tokens": len(completion.tokens),
    }
    if completion.logprobs is not None:
        made["logprobs"] = list(completion.logprobs)
    if completion.top_logprobs is not None:
        made["top_logprobs"] = [list(position) for position in completion.top_logprobs]
    return made
