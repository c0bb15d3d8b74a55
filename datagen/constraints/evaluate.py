"""``evaluate: constraints``: how many held-out constraints a model keeps, and by how much it beats another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from pydantic import PositiveInt

from ...pipelines.inference import Request
from ...pipelines.operator import Context, Kept, Outcome
from ...pipelines.records import Row
from ..check import Check
from ..evaluation.comparison import Comparison
from ..respond import Respond
from ..trials import Trial
from ..trying import Answer, ToRequest
from .verify import check_row

if TYPE_CHECKING:
    import pyarrow as pa


class EvaluateConstraints(Comparison):
    """Asks ``model`` (and ``against``) every prompt of ``tasks`` and checks the constraints.

    ``samples`` completions an item at ``temperature`` (0: greedy). Each item is kept with
    ``response`` string (the first sample), ``strict`` float64 (the share of samples that keep every
    constraint), ``fraction`` float64 (the mean share of constraints kept) and ``constraint_results``
    list<bool> (of the first sample); with ``against``, the same as ``against_*``, and ``gain``
    float64, the difference in ``strict``. An item that an engine cannot be asked, or whose constraints
    cannot be read, fails.

    Metrics: ``n``, ``model {strict, fraction}`` and, with ``against``, ``against {strict, fraction}``,
    ``gain {metric, mean, ci_low, ci_high, p_two_sided, ...}`` on ``strict``, ``gain_fraction``
    likewise, and ``decision``: ``better``, ``worse``, or ``abstain`` where the interval holds zero.
    """

    figures: ClassVar[Mapping[str, str]] = {"strict": "strict", "fraction": "fraction"}

    max_tokens: PositiveInt = 128

    def types(self) -> Mapping[str, pa.DataType]:
        import pyarrow as pa

        columns = {"response": pa.string(), "constraint_results": pa.list_(pa.bool_())}
        return {prefix + name: kind for prefix in self._models() for name, kind in columns.items()}

    def asking(self) -> Respond:
        return _Responses(
            model=self.model,
            check=Check(verify="constraints"),
            samples=self.samples,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
        )

    def judged(self, trials: Sequence[Trial]) -> Row:
        verdicts = [trial.outcomes[0].row for trial in trials]
        return {
            "response": verdicts[0]["response"],
            "strict": sum(trial.passed for trial in trials) / len(trials),
            "fraction": sum(verdict["passed_fraction"] for verdict in verdicts) / len(verdicts),
            "constraint_results": verdicts[0]["constraint_results"],
        }


class _Responses(Respond):
    """Blank answers are judged too, and a row is only paid for if its answers can be judged."""

    def request(self, context: Context) -> ToRequest:
        ask = super().request(context)

        def request(row: Row) -> Request:
            check_row({**row, "response": ""})
            return ask(row)

        return request

    def read(self, row: Row, answer: Answer) -> list[Outcome]:
        return [Kept({"response": answer.text})]
