"""``evaluate: constraints``: how many held-out constraints a model keeps, and by how much it beats another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from ...pipelines.inference import Capability, Completion, Request, Sampling, derive_seed
from ...pipelines.operator import Apply, Context, Estimate, Evaluate, Kept, ModelRef, Outcome
from ...pipelines.records import Row, turns
from ..evaluation.paired_bootstrap import Gain, paired_bootstrap
from .verify import check_row

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

#: Fixes the resamples, so that the interval is a function of the scores alone.
BOOTSTRAP_SEED = 2004


class EvaluateConstraints(Evaluate):
    """Asks a model prompts with checkable constraints, and measures how many it keeps and its gain over
    another model.

    The gain has the interval of a paired bootstrap; ``loop.when`` reads the metrics.

    Reads:
        prompt (text): the prompt.
        constraints (text): JSON list of its constraints, as `source: constraints` writes it.

    Adds:
        response (text): the first answer.
        strict (float64): share of the answers that keep every constraint.
        fraction (float64): mean share of the constraints that are kept.
        constraint_results (list of bools): which constraints the first answer keeps.
        against_response, against_strict, against_fraction, against_constraint_results: the same of `against`.
        gain (float64): difference in `strict`.

    Metrics:
        n: number of items.
        model.strict, model.fraction, against.strict, against.fraction: means over the items.
        gain: mean, ci_low, ci_high and p_two_sided of the gain in `strict`.
        gain_fraction: the same for `fraction`.
        decision: `better`, `worse`, or `abstain` where the interval of the gain in `strict` holds zero.

    Example:
        verdict: {evaluate: constraints, tasks: evals, model: student, against: base}
    """

    batch_rows: ClassVar[int] = 64
    seeded: ClassVar[bool] = True

    model: ModelRef
    """Model to evaluate: a name under `models`, or a train step, whose student is then evaluated."""
    against: ModelRef | None = None
    """Model to compare it with on the same items and seeds. By default there is none, and no gain is
    measured."""
    samples: int = Field(default=1, ge=1, le=64)
    """Answers per item. More than one needs a temperature above 0."""
    temperature: float = Field(default=0.0, ge=0.0, le=2.0)
    """Randomness of sampling. The default, 0, always takes the likeliest token."""
    max_tokens: int = Field(default=128, ge=1)
    """Longest answer, in tokens."""
    confidence: float = Field(default=0.95, gt=0.0, lt=1.0)
    """Confidence of the interval of the gain, 0 to 1."""
    resamples: int = Field(default=10_000, ge=100)
    """Resamples of the paired bootstrap that gives the interval."""

    def model_post_init(self, _: Any) -> None:
        if self.samples > 1 and self.temperature == 0:
            raise ValueError(
                f"samples: {self.samples} at temperature 0 would ask the same thing again; set temperature above 0"
            )

    def needs(self) -> Mapping[str, frozenset[Capability]]:
        wanted = self._sampling().needs()
        return {"model": wanted, "against": wanted} if self.against is not None else {"model": wanted}

    def estimate(self, rows: int) -> Estimate:
        requests = rows * self.samples * (1 if self.against is None else 2)
        return Estimate(
            rows=rows,
            requests=requests,
            prompt_tokens=75 * requests,
            completion_tokens=self.max_tokens * requests // 2,
        )

    def open(self, context: Context) -> Apply:
        engines = {"": context.engine(self.model)}
        if self.against is not None:
            engines["against_"] = context.engine(self.against)

        async def apply(rows: list[Row]) -> list[list[Outcome]]:
            for row in rows:
                check_row({**row, "response": ""}, context.step)  # fail before any token is paid for
            requests = [request for row in rows for request in self._requests(row, context.seed)]
            # One after the other: two engines on one CPU would only slow each other down.
            answers = [await engine.generate(requests) for engine in engines.values()]
            return [
                [Kept(self._item(row, position, dict(zip(engines, answers)), context.step))]
                for position, row in enumerate(rows)
            ]

        return apply

    def summary(self, table: pa.Table) -> Mapping[str, Any]:
        sides = ["model"] if self.against is None else ["model", "against"]
        prefix = {"model": "", "against": "against_"}
        metrics: dict[str, Any] = {"n": table.num_rows}
        if table.num_rows == 0:
            return metrics
        for side in sides:
            metrics[side] = {
                name: float(_column(table, prefix[side] + name).mean()) for name in ("strict", "fraction")
            }
        if self.against is not None:
            gain = self._gain(table, "strict")
            metrics["gain"] = {"metric": "strict", **gain.figures()}
            metrics["gain_fraction"] = {"metric": "fraction", **self._gain(table, "fraction").figures()}
            metrics["decision"] = "abstain" if not gain.decided else "better" if gain.mean > 0 else "worse"
        return metrics

    def _sampling(self) -> Sampling:
        return Sampling(max_tokens=self.max_tokens, temperature=self.temperature)

    def _requests(self, row: Row, seed: int) -> list[Request]:
        return [
            Request(
                id=f"{row['_id']}/{ordinal}",
                seed=derive_seed(seed, row["_id"], ordinal),
                sampling=self._sampling(),
                messages=tuple(turns(row["prompt"], None, row.get("system"))),
            )
            for ordinal in range(self.samples)
        ]

    def _item(self, row: Row, position: int, answers: Mapping[str, list[Completion]], step: str) -> Row:
        item: Row = {}
        for prefix, completions in answers.items():
            mine = completions[position * self.samples : (position + 1) * self.samples]
            results = [check_row({**row, "response": completion.text}, step) for completion in mine]
            item[f"{prefix}response"] = mine[0].text
            item[f"{prefix}strict"] = sum(all(result) for result in results) / self.samples
            item[f"{prefix}fraction"] = sum(sum(result) / len(result) for result in results) / self.samples
            item[f"{prefix}constraint_results"] = results[0]
        if self.against is not None:
            item["gain"] = item["strict"] - item["against_strict"]
        return item

    def _gain(self, table: pa.Table, name: str) -> Gain:
        return paired_bootstrap(
            _column(table, name),
            _column(table, f"against_{name}"),
            seed=BOOTSTRAP_SEED,
            confidence=self.confidence,
            resamples=self.resamples,
        )


def _column(table: pa.Table, name: str) -> NDArray[np.float64]:
    values: NDArray[np.float64] = table[name].to_numpy()
    return values
