"""Asks models to choose one of a few labels, and reads the probability of each label."""

from __future__ import annotations

import asyncio
import math
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, TypeAlias

from pydantic import BeforeValidator, Field, PositiveInt

from ...contracts.asking import ask
from ...contracts.errors import DataError, EngineError
from ...contracts.inference import Capability, Completion, Engine, Request, Sampling
from ...contracts.operators import Apply, Estimate, Map, ModelRef, as_list
from ...contracts.outcomes import Failed, Outcome
from ...contracts.rows import Row
from .written_label import written_label

if TYPE_CHECKING:
    from ...contracts.context import Context

#: The likeliest tokens that are read: as many as most servers report at most.
_TOKENS = 20
#: By how much rounding may raise a log-probability above 0.
_ROUNDING = 1e-3


class AsksForLabels(Map):
    """A map whose models answer questions with a label."""

    batch_rows: ClassVar[int] = 32

    model: Annotated[
        tuple[ModelRef, ...],
        Field(min_length=1),
        BeforeValidator(as_list, json_schema_input_type=str | list[str]),
    ]
    """Model to ask, or a list of several: names under `models`, or train steps, for their students."""
    read: Literal["probabilities", "answer"] = "probabilities"
    """What is read: the `probabilities` that the model gives to each label as its first token, or the
    `answer` that it writes at temperature 0, for an engine without log-probabilities. An answer is only one
    label, so scores are then whole numbers."""
    min_mass: float = Field(default=0.1, gt=0, le=1)
    """Smallest total probability of all labels, with `read: probabilities`. Below it the model is answering
    something else, and the row fails."""
    max_tokens: PositiveInt = 16
    """Maximum length of an answer in tokens, with `read: answer`."""

    def needs(self) -> Mapping[str, frozenset[Capability]]:
        return {"model": self._sampling().needs()}

    def _sampling(self) -> Sampling:
        if self.read == "answer":
            return Sampling(max_tokens=self.max_tokens, temperature=0.0)
        return Sampling(max_tokens=1, temperature=0.0, logprobs=_TOKENS, top_texts=True)

    @abstractmethod
    def asking(self, context: Context) -> tuple[ToQuestions, ToOutcome]:
        """Return the function that makes a row's questions, and the one that reads their answers."""

    def cost(self, rows: int, questions: int, tokens: int) -> Estimate:
        """Estimate the cost of so many questions of ``tokens`` per row."""
        requests = rows * questions * len(self.model)
        written = 1 if self.read == "probabilities" else self.max_tokens
        return Estimate(
            rows=rows,
            requests=requests,
            prompt_tokens=requests * tokens,
            completion_tokens=requests * written,
        )

    def open(self, context: Context) -> Apply:
        sampling = self._sampling()
        readers = [LabelReader(name, context.engine(name), sampling, self.min_mass) for name in self.model]
        to_questions, to_outcome = self.asking(context)

        async def apply(rows: list[Row]) -> list[list[Outcome]]:
            questions: list[Question] = []
            outcomes: dict[int, Outcome] = {}
            spans: dict[int, slice] = {}
            for index, row in enumerate(rows):
                try:
                    own = to_questions(row)
                except DataError as error:
                    outcomes[index] = Failed(str(error))
                    continue
                spans[index] = slice(len(questions), len(questions) + len(own))
                questions += own
            answers = await asyncio.gather(*(reader(questions) for reader in readers))
            for index, span in spans.items():
                outcomes[index] = to_outcome([of_one[span] for of_one in answers])
            return [[outcomes[index]] for index in range(len(rows))]

        return apply


#: The probability of each label, of sum 1, or why there is none.
Answer: TypeAlias = Mapping[str, float] | str


@dataclass(frozen=True, slots=True)
class Question:
    """A question to a model, and the labels that answer it: no label begins with another."""

    id: str
    text: str
    labels: tuple[str, ...]


#: Makes a row's questions. Raises DataError if the row lacks what they need.
ToQuestions: TypeAlias = Callable[[Row], list[Question]]
#: Combines the answers of each model to a row's questions.
ToOutcome: TypeAlias = Callable[[Sequence[Sequence[Answer]]], Outcome]


@dataclass(frozen=True, slots=True)
class LabelReader:
    """One model that is asked."""

    model: str
    engine: Engine
    sampling: Sampling
    min_mass: float

    async def __call__(self, questions: Sequence[Question]) -> list[Answer]:
        """Return the answer to each question."""
        requests = [
            Request(question.id, 0, self.sampling, messages=({"role": "user", "content": question.text},))
            for question in questions
        ]
        answers = await ask(self.engine, requests)
        return [self._read(question, answer) for question, answer in zip(questions, answers, strict=True)]

    def _read(self, question: Question, answer: Completion | EngineError) -> Answer:
        if isinstance(answer, EngineError):
            return str(answer)
        if self.sampling.logprobs is None:
            return self._answered(question, answer)
        if not answer.top_texts or not answer.top_logprobs:
            return f"{self.model} reports no probabilities of tokens: set `read: answer`"
        if not all(value <= _ROUNDING for value in answer.top_logprobs[0]):
            return f"no readable answer: {self.model} reports a log-probability that is above 0 or no number"
        masses = dict.fromkeys(question.labels, 0.0)
        for text, logprob in zip(answer.top_texts[0], answer.top_logprobs[0], strict=True):
            label = text.strip(" \t\n\u2581\u0120*\"'(")
            if label in masses:
                masses[label] += math.exp(logprob)
        total = math.fsum(masses.values())
        if total < self.min_mass:
            return (
                f"no readable answer: {self.model} gives {', '.join(question.labels)} a probability of "
                f"{total:.3f} together, below min_mass = {self.min_mass}; its likeliest token is "
                f"{answer.top_texts[0][0]!r}"
            )
        return {label: mass / total for label, mass in masses.items()}

    def _answered(self, question: Question, answer: Completion) -> Answer:
        cut = answer.finish == "length"
        found = written_label(answer.text, question.labels, cut=cut)
        if found is None:
            limit = self.sampling.max_tokens
            why = f"; it was cut at max_tokens = {limit}: raise it, or turn off thinking" if cut else ""
            return (
                f"no readable answer: {self.model} wrote {answer.text.strip()[:80]!r}, not one of "
                f"{', '.join(question.labels)}{why}"
            )
        return {label: float(label == found) for label in question.labels}
