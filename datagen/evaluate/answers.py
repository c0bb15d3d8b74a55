"""``evaluate: answers``: the pass rate of a model on held-out tasks, by any verifier, and its gain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from ...contracts.rows import Row
from ..generate.answer_check import AnswerCheck
from ..generate.sampling_policies import Trial
from ..generate.template import Template
from ..parsers import AnyParser, TextParser
from .comparison import Comparison

if TYPE_CHECKING:
    import pyarrow as pa


class EvaluateAnswers(Comparison):
    """Measures the pass rate of a model on held-out items, and its gain over another model.

    The model is asked as in ``generate: template``, and any verifier checks its answers. An answer that does
    not parse, or lacks an optional field that the verifier reads, counts as not passed. An item fails if the
    engine cannot serve its request, or if the verifier cannot judge an answer to it, such as with a reference
    that cannot be read. The gain has a paired-bootstrap interval. ``loop.when`` reads the metrics.

    Adds:
        score (float64): share of the item's answers that pass.
        answer (text): the parser's first column, from the first answer that parsed; null if none did.
        against_score (float64): score of `against`.
        against_answer (text): answer of `against`.
        gain (float64): difference of the two scores.

    Metrics:
        n: number of items.
        model.pass_rate: mean score of the model.
        against.pass_rate: mean score of `against`.
        gain: mean, ci_low, ci_high and p_two_sided of the difference.
        decision: `better`, `worse`, or `abstain` if the interval contains zero.

    Example:
        verdict: {evaluate: answers, tasks: evals, model: student, against: base, check: {verify: number}}
    """

    version: ClassVar[int] = 2
    figures: ClassVar[Mapping[str, str]] = {"pass_rate": "score"}
    measures: ClassVar[Sequence[str]] = ("answer", "score")

    check: AnswerCheck
    """Verifier that decides whether an answer passes, as `{verify: NAME, ...}`."""
    template: str = "{{ prompt }}"
    """Prompt: a packaged prompt's name, the path of a `.jinja` file, or the text itself. The default asks the
    column `prompt`."""
    system: str | None = None
    """System prompt, which is also a template. By default there is none."""
    variables: dict[str, Any] = Field(default_factory=dict)
    """Additional variables of the templates, by name."""
    parser: AnyParser = Field(default_factory=TextParser)
    """How to read an answer: `{kind: NAME, ...}` with that parser's parameters. By default the whole text
    goes into `response`."""

    def types(self) -> Mapping[str, pa.DataType]:
        import pyarrow as pa

        return {f"{prefix}answer": pa.string() for prefix in self.models()}

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
