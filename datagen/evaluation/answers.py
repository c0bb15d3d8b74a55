"""``evaluate: answers``: how many held-out tasks a model's answers pass, by any verifier, and by how much it beats
another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from ...pipelines.records import Row
from ..check import Check
from ..parsers import AnyParser, TextParser
from ..template import Template
from ..trials import Trial
from .comparison import Comparison

if TYPE_CHECKING:
    import pyarrow as pa


class EvaluateAnswers(Comparison):
    """Asks ``model`` (and ``against``) about every row of ``tasks`` as ``generate: template`` would, and checks the answers.

    ``samples`` answers an item at ``temperature`` (0: greedy); one that does not parse has not passed. Each item
    is kept with ``score`` float64 (the share of samples that pass) and ``answer`` text (of the first sample that
    parsed, the first column that the parser makes; null where none did); with ``against``, the same as
    ``against_*``, and ``gain`` float64, the difference in ``score``. An item that an engine cannot be asked fails.

    Metrics: ``n``, ``model {pass_rate}`` and, with ``against``, ``against {pass_rate}``, ``gain {mean, ci_low, ci_high,
    p_two_sided, ...}`` (paired bootstrap) and ``decision``: ``better``, ``worse``, or ``abstain`` where the interval
    holds zero.
    """

    figures: ClassVar[Mapping[str, str]] = {"pass_rate": "score"}

    check: Check
    template: str = "{{ prompt }}"
    system: str | None = None
    variables: dict[str, Any] = Field(default_factory=dict)
    parser: AnyParser = Field(default_factory=TextParser)

    def types(self) -> Mapping[str, pa.DataType]:
        import pyarrow as pa

        return {f"{prefix}answer": pa.string() for prefix in self._models()}

    def asking(self) -> Template:
        return Template(
            model=self.model,
            check=self.check,
            template=self.template,
            system=self.system,
            variables=self.variables,
            parser=self.parser,
            samples=self.samples,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
        )

    def judged(self, trials: Sequence[Trial]) -> Row:
        column = next(iter(self.parser.types()))
        texts = (trial.value(column) for trial in trials)
        return {
            "answer": next((text for text in texts if text is not None), None),
            "score": sum(trial.passed for trial in trials) / len(trials),
        }
