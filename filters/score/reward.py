"""``score: reward``: the number that a reward model gives to each response."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from ...contracts.asking import ask
from ...contracts.errors import DataError, EngineError
from ...contracts.inference import Capability, Completion, Request, Sampling
from ...contracts.operators import Apply, Estimate, Map, ModelRef
from ...contracts.outcomes import Failed, Kept, Outcome
from ...contracts.rows import Row
from .responses import answered, check_response_columns

if TYPE_CHECKING:
    import pyarrow as pa

    from ...contracts.context import Context

#: Length of a conversation that estimates assume while it is unknown (tokens).
_TOKENS = 256
#: Engines ignore it: nothing is sampled.
_SAMPLING = Sampling(max_tokens=1, temperature=0.0)


class Reward(Map):
    """Rates each response with a reward model: one with a scalar head.

    The model reads the whole conversation through its chat template. Rewards have no unit: compare them only
    within one model and, for most models, only between responses to one prompt. A row that exceeds the
    model's context fails alone.

    Reads:
        prompt, response, system (text) or messages (list of turns): by default the conversation that
            training would read.
        the columns that `response` and `prompt` name, if given.

    Adds:
        reward (float64): the model's number, before any activation. Higher is better.

    Example:
        rated: {score: reward, from: answers, model: preferences}
    """

    batch_rows: ClassVar[int] = 64

    model: ModelRef
    """Reward model: a name under `models`. Serve its weights with `engine: transformers, task: reward`, or a
    vLLM server of it with `engine: openai, flavor: vllm, supports: [reward]`."""
    response: str | None = None
    """Column with the response. By default the last turn of the conversation, which must be the
    assistant's."""
    prompt: str | None = None
    """Column with the prompt, if `response` is given. By default `prompt` or, if the row has none,
    `messages` without a last turn of the assistant's."""
    column: str = "reward"
    """Name of the added column."""

    def needs(self) -> Mapping[str, frozenset[Capability]]:
        return {"model": frozenset({"reward"})}

    def types(self) -> Mapping[str, pa.DataType]:
        import pyarrow as pa

        return {self.column: pa.float64()}

    def check_columns(self, columns: Sequence[str]) -> None:
        check_response_columns(columns, self.prompt, self.response)

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        return None if columns is None else list(dict.fromkeys([*columns, self.column]))

    def estimate(self, rows: int) -> Estimate:
        """Estimate conversations of 256 tokens, until a run measured them."""
        return Estimate(rows=rows, requests=rows, prompt_tokens=rows * _TOKENS)

    def open(self, context: Context) -> Apply:
        engine = context.engine(self.model)

        async def apply(rows: list[Row]) -> list[list[Outcome]]:
            requests: list[Request] = []
            outcomes: dict[int, Outcome] = {}
            for index, row in enumerate(rows):
                try:
                    turns = tuple(answered(row, self.prompt, self.response, None))
                except DataError as error:
                    outcomes[index] = Failed(str(error))
                    continue
                requests.append(Request(str(row["_id"]), 0, _SAMPLING, messages=turns, reward=True))
            answers = iter(await ask(engine, requests))
            for index in range(len(rows)):
                if index not in outcomes:
                    outcomes[index] = self._outcome(next(answers))
            return [[outcomes[index]] for index in range(len(rows))]

        return apply

    def _outcome(self, answer: Completion | EngineError) -> Outcome:
        if isinstance(answer, EngineError):
            return Failed(str(answer), answer.retryable)
        if answer.reward is None or not math.isfinite(answer.reward):
            return Failed(f"the reward model gives {answer.reward}, not a number")
        return Kept({self.column: answer.reward})
