"""The criteria of a judge, and the questions that ask for them."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field, model_validator

from ...contracts.frozen import Frozen
from ...contracts.inference import Message


class ScoredExample(Frozen):
    """A scored example that a judge is shown."""

    prompt: str
    """The request."""
    response: str
    """The response."""
    score: int
    """Its score on the criterion's scale."""


class Criterion(Frozen):
    """One criterion of a judge: what is rated, and on which scale."""

    name: str = Field(pattern=r"^[a-zA-Z]\w*$")
    """Name of the criterion, which names its column."""
    about: str
    """What is rated, in a sentence or two."""
    low: int = Field(default=1, ge=0, le=9)
    """Lowest score."""
    high: int = Field(default=5, ge=0, le=9)
    """Highest score. Scores are one digit, so that a score is one token."""
    levels: dict[int, str] = Field(default_factory=dict)
    """What a score means, by score: `{"1": wrong, "5": correct and complete}`. By default only the ends of
    the scale are named."""
    examples: tuple[ScoredExample, ...] = ()
    """Scored examples that the judge is shown, as `{prompt: ..., response: ..., score: ...}`."""
    weight: float = Field(default=1.0, gt=0)
    """Weight in the overall score."""

    @model_validator(mode="after")
    def _is_a_scale(self) -> Criterion:
        if self.low >= self.high:
            raise ValueError(f"the scale {self.low} to {self.high} has no levels: set low below high")
        scores = [*self.levels, *(example.score for example in self.examples)]
        for score in scores:
            if not self.low <= score <= self.high:
                raise ValueError(f"the score {score} is not on the scale {self.low} to {self.high}")
        return self

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(str(score) for score in range(self.low, self.high + 1))

    def question(self, before: Sequence[Message], response: str) -> str:
        """Return the question for this criterion's score of a response."""
        scale = [f"{score}: {meaning}" for score, meaning in sorted(self.levels.items())]
        shown = [f"{_pair(each.prompt, each.response)}\n\nScore: {each.score}" for each in self.examples]
        return "\n\n".join(
            [
                f"Rate a response to a request by one criterion.\n\nCriterion: {self.name}. {self.about}",
                f"Score from {self.low} (worst) to {self.high} (best)."
                + "".join(f"\n{line}" for line in scale),
                *(f"An example:\n\n{text}" for text in shown),
                f"To rate:\n\n{_pair(request_text(before), response)}",
                f"Reply with the score, a single digit from {self.low} to {self.high}, and nothing else.",
            ]
        )


def comparison(criteria: Sequence[Criterion], before: Sequence[Message], first: str, second: str) -> str:
    """Return the question which of two responses is better."""
    told = "\n".join(f"- {criterion.name}: {criterion.about}" for criterion in criteria)
    return "\n\n".join(
        [
            "Compare two responses to the same request." + (f" Judge them by:\n{told}" if told else ""),
            f"Request:\n{request_text(before)}",
            f"Response A:\n{first}",
            f"Response B:\n{second}",
            "The order of the responses and their length do not matter. Which one is better? Reply with A or "
            "B and nothing else.",
        ]
    )


def request_text(before: Sequence[Message]) -> str:
    """Return the turns before a response as one text; a single one without its role."""
    if len(before) == 1:
        return before[0]["content"]
    return "\n".join(f"{turn['role']}: {turn['content']}" for turn in before)


def _pair(request: str, response: str) -> str:
    return f"Request:\n{request}\n\nResponse:\n{response}"
