"""Asks a model about rows, judges the answers, and asks again for the rows that need more."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ...contracts.asking import ask
from ...contracts.errors import DataError, EngineError
from ...contracts.inference import Completion, Engine, Request, derive_seed
from ...contracts.outcomes import Failed, Kept, Outcome
from ...contracts.rows import Row
from .answer_check import AnswerJudge
from .sampling_policies import Policy, Trial

#: Seconds of building requests before control is yielded, so that Ctrl-C is handled between rows.
BREATH = 0.1

#: Makes a row's request, without its id and seed. Raises DataError if the row lacks what it needs.
ToRequest = Callable[[Row], Request]


@dataclass(frozen=True, slots=True)
class Answer:
    """A model's answer: the index of the sample, the request, and the engine that served it."""

    ordinal: int
    request: Request
    completion: Completion
    engine: Engine

    @property
    def text(self) -> str:
        """The answer alone, without what was thought before it."""
        return self.completion.text

    def thought(self, row: Row, column: str = "reasoning") -> Row:
        """Return what was thought before the answer, as a column.

        A row that has such a column already gets null where nothing was thought: what it has belongs to
        another answer.
        """
        told = self.completion.reasoning
        return {} if told is None and row.get(column) is None else {column: told}

    def confidence(self) -> Row:
        """Return the recorded probabilities of the answer's tokens.

        ``logprobs`` (nats, one per token), ``top_logprobs`` (the likeliest at each position, descending) and
        ``vocab_size``, if they were requested and the engine provides them.
        """
        told = self.completion
        made: Row = {}
        if told.logprobs is not None:
            made["logprobs"] = list(told.logprobs)
        if told.top_logprobs is not None:
            made["top_logprobs"] = [list(position) for position in told.top_logprobs]
        if self.request.sampling.logprobs is not None and self.engine.vocab_size is not None:
            made["vocab_size"] = self.engine.vocab_size
        return made


#: Converts an answer to a row's request into outcomes.
ToOutcomes = Callable[[Row, Answer], list[Outcome]]


@dataclass(frozen=True, slots=True)
class SamplingPlan:
    """Everything that :func:`sample_rows` needs except the rows.

    ``lacks``: whether a record could not be judged because the answer itself lacks what is judged.
    ``whole``: ``read`` also gets completions without a text: calls of tools, and thoughts that were cut.
    """

    engine: Engine
    seed: int
    policy: Policy
    request: ToRequest
    read: ToOutcomes
    lacks: Callable[[Row], bool]
    judge: AnswerJudge | None = None
    whole: bool = False


async def sample_rows(plan: SamplingPlan, rows: Sequence[Row]) -> list[list[Trial] | Failed]:
    """Return all trials of each row in order, or why the row could not be asked about or judged."""
    trials: list[list[Trial]] = [[] for _ in rows]
    requests: dict[int, Request] = {}
    failed: dict[int, Failed] = {}
    begun = time.monotonic()
    for index, row in enumerate(rows):
        if time.monotonic() - begun > BREATH:
            await asyncio.sleep(0)
            begun = time.monotonic()
        try:
            requests[index] = plan.request(row)
        except DataError as error:
            failed[index] = Failed(str(error))
    while wave := [
        (index, len(trials[index]) + number)
        for index in requests
        for number in range(plan.policy.more(trials[index]))
    ]:
        asked = [_sample(plan, rows[index], requests[index], ordinal) for index, ordinal in wave]
        answers = await ask(plan.engine, asked, whole=plan.whole)
        made: list[list[Outcome]] = []
        for (index, ordinal), request, answer in zip(wave, asked, answers, strict=True):
            if isinstance(answer, EngineError):
                made.append([Failed(str(answer), answer.retryable, {"sample": ordinal})])
            else:
                told = Answer(ordinal, request, answer, plan.engine)
                made.append(plan.read(rows[index], told))
        judged = made
        if plan.judge is not None:
            judged = await plan.judge([rows[index] for index, _ in wave], made)
        for (index, _), read, outcomes, answer in zip(wave, made, judged, answers, strict=True):
            unjudged = _unjudged(plan, read, outcomes)
            if unjudged:
                # The number of passes, and so of samples to request, is unknown.
                requests.pop(index, None)
            # A retry might judge it.
            if (later := next((each for each in unjudged if each.retryable), None)) is not None:
                failed[index] = Failed(later.error, retryable=True)
            trials[index].append(Trial(tuple(outcomes), not isinstance(answer, EngineError), unjudged))
    return [failed[index] if index in failed else trials[index] for index in range(len(rows))]


def _unjudged(plan: SamplingPlan, read: Sequence[Outcome], judged: Sequence[Outcome]) -> tuple[Failed, ...]:
    """The failures of the check: of records that were read of an answer, and have what is judged."""
    return tuple(
        after
        for before, after in zip(read, judged, strict=True)
        if isinstance(before, Kept)
        and isinstance(after, Failed)
        and (after.retryable or not plan.lacks(after.row))
    )


def _sample(plan: SamplingPlan, row: Row, request: Request, ordinal: int) -> Request:
    seed = derive_seed(plan.seed, row["_id"], ordinal)
    return replace(request, id=f"{row['_id']}:{ordinal}", seed=seed)
