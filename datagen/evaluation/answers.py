"""``evaluate: answers``: how many held-out tasks a model's answers pass, by any verifier, and by how much it beats another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, PositiveInt

from ...pipelines.inference import Capability
from ...pipelines.operator import Apply, Context, Estimate, Evaluate, Failed, Kept, ModelRef, Outcome
from ...pipelines.records import Row
from ..check import Check
from ..parsers import AnyParser, TextParser
from ..template import Template
from ..trials import Trial
from ..trying import Trying, tried
from .paired_bootstrap import paired_bootstrap

if TYPE_CHECKING:
    import pyarrow as pa

#: Fixes the resamples, so that the interval is a function of the scores alone.
BOOTSTRAP_SEED = 2004


class EvaluateAnswers(Evaluate):
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

    batch_rows: ClassVar[int] = 64
    seeded: ClassVar[bool] = True

    model: ModelRef
    """Model to evaluate: a name under `models`, or a train step, whose student is then evaluated."""
    against: ModelRef | None = None
    """Model to compare it with on the same items and seeds. By default there is none, and no gain is
    measured."""
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
    samples: PositiveInt = 1
    """Answers per item. More than one needs a temperature above 0."""
    temperature: float = Field(default=0.0, ge=0.0)
    """Randomness of sampling. The default, 0, always takes the likeliest token."""
    max_tokens: PositiveInt = 256
    """Longest answer, in tokens."""
    confidence: float = Field(default=0.95, gt=0.0, lt=1.0)
    """Confidence of the interval of the gain, 0 to 1."""
    resamples: int = Field(default=10_000, ge=100)
    """Resamples of the paired bootstrap that gives the interval."""

    def model_post_init(self, _: Any) -> None:
        self._asking()  # the same rules as for generating

    def content(self) -> Mapping[str, str]:
        return self._asking().content()

    def needs(self) -> Mapping[str, frozenset[Capability]]:
        wanted = self._asking().sampling().needs()
        return {"model": wanted, "against": wanted} if self.against is not None else {"model": wanted}

    def estimate(self, rows: int) -> Estimate:
        sides = 1 if self.against is None else 2
        asked = self._asking().estimate(rows * sides)
        return replace(asked, rows=rows)

    def open(self, context: Context) -> Apply:
        asking = self._asking()
        request, judge = asking.request(context), self.check.open(context)
        models = {"": self.model, **({"against_": self.against} if self.against is not None else {})}
        sides = {
            prefix: Trying(context.engine(name), context.seed, asking.policy(), request, asking.read, judge)
            for prefix, name in models.items()
        }

        async def apply(rows: list[Row]) -> list[list[Outcome]]:
            # One after the other: two engines on one CPU would only slow each other down.
            answers = {prefix: await tried(trying, rows) for prefix, trying in sides.items()}
            return [
                [self._item({prefix: side[index] for prefix, side in answers.items()})]
                for index in range(len(rows))
            ]

        return apply

    def summary(self, table: pa.Table) -> Mapping[str, Any]:
        metrics: dict[str, Any] = {"n": table.num_rows}
        if table.num_rows == 0:
            return metrics
        scores = table["score"].to_numpy()
        metrics["model"] = {"pass_rate": float(scores.mean())}
        if self.against is not None:
            others = table["against_score"].to_numpy()
            gain = paired_bootstrap(
                scores, others, seed=BOOTSTRAP_SEED, confidence=self.confidence, resamples=self.resamples
            )
            metrics["against"] = {"pass_rate": float(others.mean())}
            metrics["gain"] = {"metric": "pass_rate", **gain.figures()}
            metrics["decision"] = "abstain" if not gain.decided else "better" if gain.mean > 0 else "worse"
        return metrics

    def types(self) -> Mapping[str, pa.DataType]:
        import pyarrow as pa

        return {"answer": pa.string(), "against_answer": pa.string()}

    def _asking(self) -> Template:
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

    def _item(self, sides: Mapping[str, Sequence[Trial] | Failed]) -> Outcome:
        column = next(iter(self.parser.types()))
        item: Row = {}
        for prefix, trials in sides.items():
            if isinstance(trials, Failed):
                return trials
            if not all(trial.answered for trial in trials):
                refused = next(trial for trial in trials if not trial.answered).outcomes[0]
                assert isinstance(refused, Failed)
                return Failed(refused.error)
            texts = (trial.value(column) for trial in trials)
            item[f"{prefix}answer"] = next((text for text in texts if text is not None), None)
            item[f"{prefix}score"] = sum(trial.passed for trial in trials) / len(trials)
        if self.against is not None:
            item["gain"] = item["score"] - item["against_score"]
        return Kept(item)
