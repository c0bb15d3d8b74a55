"""``score: influence``: what one training step on a row does to the loss on the rows of a target task."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, PositiveInt

from ..contracts.context import Context
from ..contracts.inference import derive_seed
from ..contracts.operators import FilledStepRef, ModelRef, WholeTable
from ..contracts.outcomes import TableResult
from ..contracts.rows import check_chat_form
from .methods.sft import SupervisedFineTuning

if TYPE_CHECKING:
    import pyarrow as pa


class InfluenceScore(WholeTable):
    """Measures the influence of rows on the loss on a target task, by one training step on each row.

    influence = the loss on the target's rows before the step - the loss after it. The step is taken from the
    same weights for every row, by gradient descent without momentum: of a new adapter over the model, or of
    a student's own. This is the oracle of MATES (Yu et al., arXiv 2406.06046): it is expensive, so `probe`
    rows have it, and `score: learned` predicts it for the others. A probed row that cannot be trained on
    fails.

    Adds:
        influence (float64): nats per token by which the step lowers the loss on the target; null for rows
            that are not probed.

    Example:
        probed: {score: influence, model: base, towards: tasks, probe: 64, from: pool}
    """

    seeded: ClassVar[bool] = True

    model: ModelRef
    """Model whose training is probed: a name under `models`, or a train step, for its student."""
    towards: FilledStepRef
    """Step whose rows stand for the target task. They have the form that `train: sft` reads."""
    probe: PositiveInt = 64
    """Rows to probe, drawn at random."""
    sample: PositiveInt = 32
    """Most rows of the target to measure the loss on, drawn at random."""
    learning_rate: float = Field(default=1e-2, gt=0)
    """Size of the step: the gradient is multiplied by it."""
    max_length: int = Field(default=512, ge=2)
    """Longest row, in tokens. Longer rows of the target are left out; longer probed rows fail."""

    def uses_columns(self) -> Iterable[str]:
        return ()

    def check_columns(self, columns: Sequence[str]) -> None:
        check_chat_form(columns)

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        return None if columns is None else [*columns, "influence"]

    def apply(self, table: pa.Table, context: Context) -> TableResult:
        """Probe the drawn rows. Raises DataError if no row of the target can be trained on."""
        import pyarrow as pa

        from .influence_probe import Probe

        probed = drawn(table, self.probe, context.seed)
        target = context.table(self.towards)
        target = target.take(drawn(target, self.sample, context.seed))
        probe = Probe.of(self.training(), target, context, self.learning_rate)
        found: list[float | None] = [None] * table.num_rows
        errors: list[str | None] = [None] * table.num_rows
        for done, (place, row) in enumerate(zip(probed, table.take(probed).to_pylist())):
            context.check()
            context.progress(done, len(probed), "rows")
            try:
                found[place] = probe.influence(row)
            except ValueError as error:
                errors[place] = f"score: influence: {error}"
        return TableResult(
            columns={"influence": pa.array(found, pa.float64())},
            errors=errors if any(errors) else None,
            summary=_told(found, probe.loss),
        )

    def training(self) -> SupervisedFineTuning:
        """The training that is probed: in float32, since one step changes the loss little."""
        return SupervisedFineTuning.model_validate(
            {"model": self.model, "quantize": "none", "dtype": "fp32", "max_length": self.max_length}
        )


def drawn(table: pa.Table, rows: int, seed: int) -> list[int]:
    """The places of at most ``rows`` rows, drawn by their ids, in order."""
    lots = [(derive_seed(seed, name), place) for place, name in enumerate(table["_id"].to_pylist())]
    return sorted(place for _, place in sorted(lots)[:rows])


def _told(found: Sequence[float | None], loss: float) -> dict[str, Any]:
    known = [each for each in found if each is not None]
    return {
        "probed": len(known),
        "target_loss": loss,
        "mean_influence": sum(known) / len(known) if known else None,
        "helpful": sum(each > 0 for each in known) / len(known) if known else None,
    }
