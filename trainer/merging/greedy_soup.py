"""``merge: greedy_soup``: of several students, the mean of those that together do best on held-out rows."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from ...contracts.context import Context
from ...contracts.operators import Estimate
from ...contracts.rows import check_chat_form
from ...contracts.training import Merge, Trained
from .merge_step import base_of, no_history, student_of

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

    from ..methods.sft import SupervisedFineTuning


class GreedySoup(Merge):
    """Merges those students whose mean model has the lowest loss on held-out rows.

    The students are tried in the order of their own losses, the lowest first. Each is added to the soup, the
    mean of those added before, only if the loss falls (Wortsman et al., "Model soups", arXiv 2203.05482). The
    loss is that of `train: sft` on the rows of `from`. So the result is never worse on them than the best
    student.

    Reads:
        messages (list of turns): conversation to measure on.
        prompt, input, response, system (text): a single exchange, if there are no `messages`.

    Example:
        best: {merge: greedy_soup, from: held_out, model: base, students: [warm, cool, long]}
    """

    optional_input: ClassVar[bool] = False

    max_length: int = Field(default=1024, ge=2)
    """Longest row to measure on, in tokens. Longer ones are left out."""
    dtype: Literal["bf16", "fp32"] | None = None
    """Dtype of the measurements. By default bf16, or fp32 on a CPU without instructions for bf16."""
    device: Literal["auto", "cuda", "cpu"] = "auto"
    """Device to measure on. `auto` takes a CUDA GPU if there is one, otherwise the CPU."""

    def check_columns(self, columns: Sequence[str]) -> None:
        check_chat_form(columns)

    def estimate(self, rows: int) -> Estimate:
        return Estimate(rows=rows)

    def fit(self, table: pa.Table, context: Context) -> Trained:
        from ..forecast.choose_format import with_format
        from .merge import merge
        from .soup_loss import SoupLoss

        base = base_of(self.model, context)
        directories = [student_of(name, context) for name in self.students]
        step = with_format(self._measured(), context.workdir / "format.json")
        measure = SoupLoss(base, step, table, context)
        tried, total = _Tried(context.workdir / "losses.json"), 2 * len(self.students) - 1

        def loss_of(chosen: Sequence[int]) -> float:
            context.check()
            name = " + ".join(self.students[place] for place in chosen)
            if name not in tried.losses:
                made = context.workdir / "tried"
                merge(base, [directories[place] for place in chosen], made, method="soup")
                tried.add(name, measure(made))
                shutil.rmtree(made)
            context.progress(len(tried.losses), total, "soups", held_out_loss=tried.losses[name])
            return tried.losses[name]

        chosen = greedy(len(self.students), loss_of)
        out = context.workdir / "merged"
        merge(base, [directories[place] for place in chosen], out, method="soup")
        metrics = {
            "merged": [self.students[place] for place in chosen],
            "held_out_loss": loss_of(chosen),
            "tried": dict(tried.losses),
        }
        return Trained(out, metrics, no_history(), measure.left_out)

    def _measured(self) -> SupervisedFineTuning:
        """Return the training whose loss is measured."""
        from ..methods.sft import SupervisedFineTuning

        return SupervisedFineTuning(
            model=self.model,
            max_length=self.max_length,
            dtype=self.dtype,
            device=self.device,
            quantize="none",
        )


def greedy(count: int, loss_of: Callable[[Sequence[int]], float]) -> list[int]:
    """Return the ingredients, of ``count``, that the greedy recipe takes, in the order in which it adds them.

    ``loss_of``: the loss of the mean of some of them.
    """
    alone = [loss_of([place]) for place in range(count)]
    order = sorted(range(count), key=alone.__getitem__)
    chosen, lowest = order[:1], alone[order[0]]
    for place in order[1:]:
        if (loss := loss_of([*chosen, place])) < lowest:
            chosen, lowest = [*chosen, place], loss
    return chosen


class _Tried:
    """The losses measured so far, by the names of what was merged, in a file that a later call reads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.losses: dict[str, float] = json.loads(path.read_text()) if path.exists() else {}

    def add(self, name: str, loss: float) -> None:
        self.losses[name] = loss
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text(json.dumps(self.losses, indent=2) + "\n")
        temporary.replace(self.path)
