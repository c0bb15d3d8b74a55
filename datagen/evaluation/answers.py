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
    """Asks a model about held-out items, checks its answers with any verifier, and measures its gain over
    another model.

    The model is asked as ``generate: template`` does. An answer that does not parse has not passed. An item
    that an engine cannot be asked about fails. The gain has the interval of a paired bootstrap; ``loop.when``
    reads the metrics.

    Adds:
        score (float64): share of the item's answers that pass.
        answer (text): first column that the parser makes, of the first answer that parsed; null where none
            did.
        against_score (float64): the same score of `against`.
        against_answer (text): the same answer of `against`.
        gain (float64): difference of the two scores.

    Metrics:
        n: number of items.
        model.pass_rate: mean score of the model.
        against.pass_rate: mean score of `against`.
        gain: mean, ci_low, ci_high and p_two_sided of the difference.
        decision: `better`, `worse`, or `abstain` where the interval holds zero.

    Example:
        verdict: {evaluate: answers, tasks: evals, model: student, against: base, check: {verify: number}}
    """

    figures: ClassVar[Mapping[str, str]] = {"pass_rate": "score"}

    check: Check
    """Verifier that decides whether an answer passes, as `{verify: NAME, ...}`."""
    template: str = "{{ prompt }}"
    """Prompt: a packaged prompt's name, the path of a `.jinja` file, or the text itself. The default asks the
    column `prompt`."""
    system: str | None = None
    """System prompt, a template too. By default there is none."""
    variables: dict[str, Any] = Field(default_factory=dict)
    """Further variables of the templates, by name."""
    parser: AnyParser = Field(default_factory=TextParser)
    """How to read an answer: `{kind: NAME, ...}` with that parser's parameters. By default the whole text
    goes into `response`."""

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
