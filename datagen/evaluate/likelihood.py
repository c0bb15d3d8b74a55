"""``evaluate: likelihood``: how likely a model finds held-out responses, and its gain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, cast

from ...contracts import registry
from ...contracts.context import Context
from ...contracts.inference import Capability
from ...contracts.operators import Apply, Estimate, Map
from ...contracts.outcomes import Outcome
from ...contracts.rows import Row
from .paired import PairedEvaluation

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class EvaluateLikelihood(PairedEvaluation):
    """Measures how likely a model finds the responses of held-out rows, and its gain over another model.

    The score of an item is the mean log-probability per token of its response given its prompt, as
    ``score: likelihood`` computes it: minus the held-out loss. Nothing is generated, so small differences
    show with few items. The gain has a paired-bootstrap interval over the items.

    Adds:
        mean_logprob (float64): mean log-probability per token, in nats.
        tokens (int32): number of tokens of the response.
        against_mean_logprob (float64): the same for `against`.
        against_tokens (int32): the same for `against`.
        gain (float64): difference of the two means.

    Metrics:
        n: number of items.
        model.mean_logprob: mean over the items; minus the held-out loss.
        against.mean_logprob: mean of `against`.
        gain: mean, ci_low, ci_high and p_two_sided of the difference.
        decision: `better`, `worse`, or `abstain` if the interval contains zero.

    Example:
        verdict: {evaluate: likelihood, tasks: held_out, model: student, against: base}
    """

    figures: ClassVar[Mapping[str, str]] = {"mean_logprob": "mean_logprob"}
    measures: ClassVar[Sequence[str]] = ("mean_logprob", "tokens")

    response: str | None = None
    """Column with the text to score. By default the last turn of the conversation, which must be the
    assistant's."""
    prompt: str | None = None
    """Column with the prompt, if `response` is given. By default `prompt` or `messages`."""
    system: str | None = None
    """System prompt of rows that have none of their own."""

    def asked_columns(self) -> Iterable[str]:
        return [name for name in (self.prompt, self.response) if name is not None]

    def samples_answers(self) -> bool:
        return False

    def needs(self) -> Mapping[str, frozenset[Capability]]:
        wanted = self._scorer(self.model).needs()["model"]
        return dict.fromkeys(self.asks(), wanted)

    def check_columns(self, columns: Sequence[str]) -> None:
        self._scorer(self.model).check_columns(columns)

    def estimate(self, rows: int) -> Estimate:
        asked = self._scorer(self.model).estimate(rows * len({*self.models().values()}))
        return Estimate(rows, asked.requests, asked.prompt_tokens, asked.completion_tokens)

    def open(self, context: Context) -> Apply:
        measured = self.measured(context)
        scorers = {
            name: self._scorer(name).open(context)
            for name in dict.fromkeys(self.models().values())
            if name not in measured
        }

        async def apply(rows: list[Row]) -> list[list[Outcome]]:
            sides = self.known(measured, rows)
            # In sequence: two engines on one CPU would slow each other down.
            for name, score in scorers.items():
                sides[name] = [outcome for (outcome,) in await score(rows)]
            return self.items(sides)

        return apply

    def _scorer(self, model: str) -> Map:
        kind = registry.find("score", "likelihood")
        assert kind is not None
        parameters = {"prompt": self.prompt, "response": self.response, "system": self.system}
        return cast(Map, kind.model_validate({"model": model, **parameters}))
