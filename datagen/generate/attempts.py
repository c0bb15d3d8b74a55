"""``generate: attempts``: several checked attempts of a model at a row, added to the row as columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from ...contracts.operators import Estimate
from ...contracts.outcomes import Failed, Kept, Outcome
from .sampling_policies import Trial, without_verdict
from .template import Template

if TYPE_CHECKING:
    import pyarrow as pa


class Attempts(Template):
    """Lets a model attempt a row several times, checks each attempt, and adds the outcome to the row.

    The model is asked as in ``generate: template``, but no new rows are made. Two such steps, one with a hint
    and one without, measure what the hint is worth. An attempt that does not parse counts as not passed. A
    row fails if no attempt could be made, or if one could not be judged, such as with a reference that cannot
    be read.

    Adds:
        attempt (text): the parser's first column, from the first attempt that passed, or from the first that
            parsed if none passed. `name` renames this column and the three below.
        attempt_passed (bool): whether any attempt passed.
        attempt_pass_rate (float64): share of the attempts that passed.
        attempt_trials (int32): number of attempts.

    Example:
        revised:
          generate: attempts
          from: judged
          model: base
          template: revise_code
          name: revision
          parser: {kind: code, column: attempt}
          samples: 4
          check: {verify: tests, code: attempt}
    """

    version: ClassVar[int] = 2
    makes_rows: ClassVar[bool] = False

    name: str = Field(default="attempt", pattern=r"^[A-Za-z]\w*$")
    """Name of the column for the attempt, and prefix of the names of the three other columns."""

    def model_post_init(self, context: Any) -> None:
        super().model_post_init(context)
        if self.check is None:
            raise ValueError("attempts are counted by their verdicts: add `check: {verify: ...}`")
        if self.take != "all":
            raise ValueError("`take` chooses among new rows, but attempts make none: leave it out")

    def types(self) -> Mapping[str, pa.DataType]:
        import pyarrow as pa

        return {
            self.name: pa.string(),
            f"{self.name}_passed": pa.bool_(),
            f"{self.name}_pass_rate": pa.float64(),
            f"{self.name}_trials": pa.int32(),
        }

    def estimate(self, rows: int) -> Estimate:
        asked = super().estimate(rows)
        return replace(asked, rows=rows)

    def chosen(self, trials: Sequence[Trial]) -> list[Outcome]:
        made = [trial for trial in trials if trial.answered]
        if not made:
            first = trials[0].outcomes[0]
            assert isinstance(first, Failed)
            return [Failed(first.error)]
        if (unjudged := without_verdict(trials)) is not None:
            return [unjudged]
        passed = [trial for trial in trials if trial.passed]
        column = next(iter(self.parser.types()))
        texts = (trial.value(column) for trial in [*passed, *made])
        return [
            Kept(
                {
                    self.name: next((text for text in texts if text is not None), None),
                    f"{self.name}_passed": bool(passed),
                    f"{self.name}_pass_rate": len(passed) / len(trials),
                    f"{self.name}_trials": len(trials),
                }
            )
        ]
