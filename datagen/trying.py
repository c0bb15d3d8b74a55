"""Asks a model about rows, judges the answers, and asks again for those rows that need more."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ..pipelines.errors import DataError, EngineError
from ..pipelines.inference import Completion, Engine, Request, derive_seed
from ..pipelines.operator import Failed, Outcome
from ..pipelines.records import Row
from .check import Judge
from .trials import Policy, Trial

#: Seconds for which requests are made before others have their turn: Ctrl-C too is heard between rows.
BREATH = 0.1

#: A row's request, but for its id and seed. Raises DataError where the row has not what it takes.
ToRequest = Callable[[Row], Request]


@dataclass(frozen=True, slots=True)
class Answer:
    """A model's answer: which sample of its row it is, and what was asked of whom."""

    ordinal: int
    request: Request
    completion: Completion
    engine: Engine

    @property
    def text(self) -> str:
        return self.completion.text

    def confidence(self) -> Row:
        """What was asked about its tokens: ``logprobs`` (nats, one a token), ``top_logprobs`` (falling, the likeliest at
        each position) and ``vocab_size``, where the request asks for them and the engine tells."""
        told = self.completion
        made: Row = {}
        if told.logprobs is not None:
            made["logprobs"] = list(told.logprobs)
        if told.top_logprobs is not None:
            made["top_logprobs"] = [list(position) for position in told.top_logprobs]
        if self.request.sampling.logprobs is not None and self.engine.vocab_size is not None:
            made["vocab_size"] = self.engine.vocab_size
        return made


#: What becomes of an answer to a row's request.
ToOutcomes = Callable[[Row, Answer], list[Outcome]]


@dataclass(frozen=True, slots=True)
class Trying:
    """How rows are tried: everything that :func:`tried` needs but the rows."""

    engine: Engine
    seed: int
    policy: Policy
    request: ToRequest
    read: ToOutcomes
    judge: Judge | None = None


async def tried(trying: Trying, rows: Sequence[Row]) -> list[list[Trial] | Failed]:
    """All trials of each row, in order, or why it could not be asked about or an answer not be judged."""
    trials: list[list[Trial]] = [[] for _ in rows]
    requests: dict[int, Request] = {}
    failed: dict[int, Failed] = {}
    begun = time.monotonic()
    for index, row in enumerate(rows):
        if time.monotonic() - begun > BREATH:
            await asyncio.sleep(0)
            begun = time.monotonic()
        try:
            requests[index] = trying.request(row)
        except DataError as error:
            failed[index] = Failed(str(error))
    while wave := [
        (index, len(trials[index]) + number)
        for index in requests
        for number in range(trying.policy.more(trials[index]))
    ]:
        asked = [_sample(trying, rows[index], requests[index], ordinal) for index, ordinal in wave]
        answers = await ask(trying.engine, asked)
        made: list[list[Outcome]] = []
        for (index, ordinal), request, answer in zip(wave, asked, answers, strict=True):
            if isinstance(answer, EngineError):
                made.append([Failed(str(answer), row={"sample": ordinal})])
            else:
                told = Answer(ordinal, request, answer, trying.engine)
                made.append(trying.read(rows[index], told))
        if trying.judge is not None:
            made = await trying.judge([rows[index] for index, _ in wave], made)
        for (index, _), outcomes, answer in zip(wave, made, answers, strict=True):
            if (unjudged := _unjudged(outcomes)) is not None:
                failed[index] = unjudged
                requests.pop(index, None)
            trials[index].append(Trial(tuple(outcomes), not isinstance(answer, EngineError)))
    return [failed[index] if index in failed else trials[index] for index in range(len(rows))]


def _unjudged(outcomes: Sequence[Outcome]) -> Failed | None:
    """Why an answer that may be judged yet was not: how many passed, and so how many to ask for, is then unknown."""
    for outcome in outcomes:
        if isinstance(outcome, Failed) and outcome.retryable:
            return Failed(outcome.error, retryable=True)
    return None


def _sample(trying: Trying, row: Row, request: Request, ordinal: int) -> Request:
    seed = derive_seed(trying.seed, row["_id"], ordinal)
    return replace(request, id=f"{row['_id']}:{ordinal}", seed=seed)


async def ask(engine: Engine, requests: Sequence[Request]) -> list[Completion | EngineError]:
    """A completion for each request, or the error that this request alone brings about.

    An answer that is not Unicode text, which nothing could store, is such an error too. An engine fails
    a call as a whole. Where trying again cannot help, the call is halved until the requests at fault
    are alone; errors that may pass are raised, for the run to try again.
    """
    if not requests:
        return []
    try:
        return [_text_only(completion) for completion in await engine.generate(requests)]
    except EngineError as error:
        if error.retryable:
            raise
        if len(requests) == 1:
            return [error]
    half = len(requests) // 2
    return [*await ask(engine, requests[:half]), *await ask(engine, requests[half:])]


def _text_only(completion: Completion) -> Completion | EngineError:
    try:
        completion.text.encode()
    except UnicodeEncodeError as error:
        told = f"character {error.start} of the answer is half a character (a lone surrogate)"
        return EngineError(told, retryable=False)
    return completion
