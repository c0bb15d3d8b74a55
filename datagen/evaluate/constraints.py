"""``evaluate: constraints``: how many held-out constraints a model satisfies, and its gain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from pydantic import PositiveInt

from ...contracts.context import Context
from ...contracts.inference import Request
from ...contracts.outcomes import Kept, Outcome
from ...contracts.rows import Row
from ..generate.answer_check import AnswerCheck
from ..generate.respond import Respond
from ..generate.sampling_loop import Answer, ToRequest
from ..generate.sampling_policies import Trial
from ..verify.constraints import readable
from .comparison import Comparison

if TYPE_CHECKING:
    import pyarrow as pa


class EvaluateConstraints(Comparison):
    """Measures how many verifiable constraints a model satisfies, and its gain over another model.

    An item fails if the engine cannot serve its request, its constraints cannot be read, or its keywords are
    patterns that take too long. The gain has a paired-bootstrap interval. ``loop.when`` reads the metrics.

    Reads:
        prompt (text): the prompt.
        constraints (text): JSON list of its constraints, as `source: constraints` writes it.
        instruction_id_list, kwargs (lists): the same of an item of IFEval, instead of `constraints`.

    Adds:
        response (text): the first answer.
        strict (float64): share of the answers that satisfy all constraints.
        loose (float64): share of the answers that satisfy all constraints by IFEval's loose rules.
        fraction (float64): mean share of the constraints that are satisfied.
        constraint_results (list of bools): which constraints the first answer satisfies.
        against_response, against_strict, against_loose, against_fraction, against_constraint_results: the
            same of `against`.
        gain (float64): difference in `strict`.

    Metrics:
        n: number of items.
        model.strict, model.fraction, model.loose: means over the items.
        against.strict, against.fraction, against.loose: the same of `against`.
        gain: mean, ci_low, ci_high and p_two_sided of the gain in `strict`.
        gain_fraction, gain_loose: the same for `fraction` and `loose`.
        decision: `better`, `worse`, or `abstain` if the interval of the gain in `strict` contains zero.

    Example:
        verdict: {evaluate: constraints, tasks: evals, model: student, against: base}
    """

    version: ClassVar[int] = 2
    figures: ClassVar[Mapping[str, str]] = {"strict": "strict", "fraction": "fraction", "loose": "loose"}
    measures: ClassVar[Sequence[str]] = ("response", "strict", "loose", "fraction", "constraint_results")

    max_tokens: PositiveInt = 128
    """Maximum length of an answer, in tokens."""

    def types(self) -> Mapping[str, pa.DataType]:
        import pyarrow as pa

        columns = {"response": pa.string(), "constraint_results": pa.list_(pa.bool_())}
        return {prefix + name: kind for prefix in self.models() for name, kind in columns.items()}

    def asking(self) -> Respond:
        return _Responses(
            model=self.model,
            check=AnswerCheck(verify="constraints"),
            samples=self.samples,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
        )

    def judged(self, trials: Sequence[Trial]) -> Row:
        verdicts = [trial.outcomes[0].row for trial in trials]
        return {
            "response": verdicts[0]["response"],
            "strict": sum(trial.passed for trial in trials) / len(trials),
            "loose": sum(verdict["passed_loose"] for verdict in verdicts) / len(verdicts),
            "fraction": sum(verdict["passed_fraction"] for verdict in verdicts) / len(verdicts),
            "constraint_results": verdicts[0]["constraint_results"],
        }


class _Responses(Respond):
    """Blank answers are judged too. A row is only asked about if its answers can be judged."""

    def request(self, context: Context) -> ToRequest:
        ask = super().request(context)

        def request(row: Row) -> Request:
            readable({**row, "response": ""})
            return ask(row)

        return request

    def read(self, row: Row, answer: Answer) -> list[Outcome]:
        return [Kept({"response": answer.text})]
