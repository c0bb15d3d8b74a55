"""``score: likelihood``: the log-probability of given text under any model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from ...contracts.asking import ask
from ...contracts.errors import DataError, EngineError
from ...contracts.inference import Capability, Completion, Message, Request, Sampling
from ...contracts.operators import Apply, Estimate, Map, ModelRef, no_column
from ...contracts.outcomes import Failed, Kept, Outcome
from ...contracts.rows import Row
from .responses import answered, check_response_columns, plain

if TYPE_CHECKING:
    import pyarrow as pa

    from ...contracts.context import Context

#: Lengths that estimates assume while they are unknown (tokens).
_PROMPT_TOKENS = 128
_TEXT_TOKENS = 128
#: Engines ignore it: nothing is sampled.
_SAMPLING = Sampling(max_tokens=1, temperature=0.0)
#: The conversation before a response that is scored without its prompt: every chat template takes it.
_NO_PROMPT: tuple[Message, ...] = ({"role": "user", "content": ""},)


class Likelihood(Map):
    """Computes the log-probability of given text under any model, or under a trained student.

    The model reads the prompt and the response as one sequence and samples nothing. Only the response's
    tokens count: the prompt is masked. The response is tokenized as in training, after the prompt as the
    model's chat template renders it. A row whose text is empty or exceeds the model's context fails alone.

    The scores of two models or of two responses of a row are compared by two such steps with different
    prefixes. A sum favors short responses; ``mean_logprob`` and ``perplexity`` do not depend on length as
    such.

    Reads:
        prompt, response, system (text) or messages (list of turns): by default the conversation that
            training would read; its last turn is scored.
        the columns that `response` and `prompt` name, if given.

    Adds:
        logprob (float64): log-probability of the response given the prompt, in nats: the sum over its tokens.
        mean_logprob (float64): the same per token.
        perplexity (float64): exponential of its negative.
        tokens (int32): number of tokens of the response, in the model's tokens.
        unconditional_logprob, unconditional_mean_logprob (float64): the same without the prompt, with
            `unconditional`.
        ifd (float64): instruction-following difficulty: the perplexity given the prompt, divided by that
            without it. Above 1, the prompt makes the response less likely.

    Example:
        scored: {score: likelihood, from: answers, model: base, unconditional: true}
    """

    batch_rows: ClassVar[int] = 64

    model: ModelRef
    """Model whose probabilities are asked for: a name under `models`, or a train step, for its student."""
    response: str | None = None
    """Column with the text to score, such as `chosen`. By default the last turn of the conversation, which
    must be the assistant's."""
    prompt: str | None = None
    """Column with the prompt, if `response` is given. By default `prompt` or, if the row has none, `messages`
    without a last turn of the assistant's."""
    system: str | None = None
    """System prompt of rows that have none of their own."""
    chat: bool = True
    """Whether the model's chat template renders the prompt. `false` takes prompt and response as plain text,
    for a base model; it requires columns of text, not a conversation."""
    end_of_turn: bool = False
    """Also count the token that ends the turn, as training does."""
    unconditional: bool = False
    """Also score the response without its prompt, and add `ifd` (Li et al., "From Quantity to Quality", 2023,
    arXiv:2308.12032; as a ratio of perplexities: "Superfiltering", 2024, arXiv:2402.00530). For a chat the
    prompt is then an empty user turn; for plain text it is the token that begins a text."""
    prefix: str = Field(default="", pattern=r"^([a-zA-Z]\w*)?$")
    """Beginning of the names of the added columns, such as `base_`."""

    def model_post_init(self, context: object) -> None:
        super().model_post_init(context)
        if self.prompt is not None and self.response is None:
            raise ValueError("`prompt` requires `response`: the column with the text to score")

    def needs(self) -> Mapping[str, frozenset[Capability]]:
        return {"model": frozenset({"likelihood"})}

    def types(self) -> Mapping[str, pa.DataType]:
        import pyarrow as pa

        more = ("unconditional_logprob", "unconditional_mean_logprob", "ifd") if self.unconditional else ()
        numbers = ("logprob", "mean_logprob", "perplexity", *more)
        return {
            **{self.prefix + name: pa.float64() for name in numbers},
            f"{self.prefix}tokens": pa.int32(),
        }

    def check_columns(self, columns: Sequence[str]) -> None:
        if not self.chat:
            for name in (self.prompt or "prompt", self.response or "response"):
                if name not in columns:
                    raise DataError(no_column(name, columns))
        check_response_columns(columns, self.prompt, self.response)

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        return None if columns is None else list(dict.fromkeys([*columns, *self.types()]))

    def estimate(self, rows: int) -> Estimate:
        """Estimate prompts and responses of 128 tokens each, until a run measured them."""
        requests = 2 * rows if self.unconditional else rows
        return Estimate(
            rows=rows,
            requests=requests,
            prompt_tokens=rows * _PROMPT_TOKENS,
            completion_tokens=requests * _TEXT_TOKENS,
        )

    def open(self, context: Context) -> Apply:
        engine = context.engine(self.model)
        each = 2 if self.unconditional else 1

        async def apply(rows: list[Row]) -> list[list[Outcome]]:
            requests: list[Request] = []
            outcomes: dict[int, Outcome] = {}
            for index, row in enumerate(rows):
                try:
                    requests += self._requests(row)
                except DataError as error:
                    outcomes[index] = Failed(str(error))
            answers = iter(await ask(engine, requests))
            for index in range(len(rows)):
                if index not in outcomes:
                    outcomes[index] = self._outcome(list(islice(answers, each)))
            return [[outcomes[index]] for index in range(len(rows))]

        return apply

    def _requests(self, row: Row) -> list[Request]:
        """Return the request with the prompt and, if asked for, the one without. Raises DataError."""
        asked = Request(str(row["_id"]), 0, _SAMPLING, closed=self.end_of_turn)
        if self.chat:
            *before, last = answered(row, self.prompt, self.response, self.system)
            asked = replace(asked, messages=tuple(before), continuation=last["content"])
            alone = replace(asked, messages=_NO_PROMPT)
        else:
            before_text, text = plain(row, self.prompt, self.response)
            asked = replace(asked, prompt=before_text, continuation=text)
            alone = replace(asked, prompt="")
        return [asked, replace(alone, id=f"{asked.id}:unconditional")] if self.unconditional else [asked]

    def _outcome(self, answers: Sequence[Completion | EngineError]) -> Outcome:
        totals: list[float] = []
        tokens = 0
        for answer in answers:
            if isinstance(answer, EngineError):
                return Failed(str(answer), answer.retryable)
            values = answer.logprobs or ()
            if not values or any(math.isnan(value) for value in values):
                return Failed("the model gives no log-probability for a token of the text")
            totals.append(math.fsum(values))
            tokens = len(values)
        mean = totals[0] / tokens
        made: Row = {
            "logprob": totals[0],
            "mean_logprob": mean,
            "perplexity": _exponential(-mean),
            "tokens": tokens,
        }
        if self.unconditional:
            alone = totals[1] / tokens
            made |= {"unconditional_logprob": totals[1], "unconditional_mean_logprob": alone}
            made["ifd"] = _exponential(alone - mean)
        return Kept({self.prefix + name: value for name, value in made.items()})


def _exponential(power: float) -> float:
    """Return e to the ``power``; infinity where a float cannot hold it."""
    try:
        return math.exp(power)
    except OverflowError:
        return math.inf
