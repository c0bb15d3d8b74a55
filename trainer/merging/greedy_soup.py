"""``merge: greedy_soup``: of several students, the mean of those that together do best on held-out rows."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ...contracts.chat_templates import read_chat_templates, write_chat_templates
from ...contracts.context import Context
from ...contracts.training import Trained
from .measured_merge import MeasuredMerge, Measurements
from .merge_step import base_of, no_history, student_of

if TYPE_CHECKING:
    import pyarrow as pa


class GreedySoup(MeasuredMerge):
    """Merges those students whose mean model has the lowest loss on held-out rows.

    The students are tried in the order of their own losses, the lowest first. Each is added to the soup, the
    mean of those added before, only if the loss falls (Wortsman et al., "Model soups", arXiv 2203.05482). The
    loss is that of `train: sft` on the rows of `from`, with the chat template of the merged model. So the
    result is never worse on them than the best student.

    Reads:
        messages (list of turns): conversation to measure on.
        prompt, input, response, system (text): a single exchange, if there are no `messages`.

    Example:
        best: {merge: greedy_soup, from: held_out, model: base, students: [warm, cool, long]}
    """

    def fit(self, table: pa.Table, context: Context) -> Trained:
        from .merge import merge
        from .soup_loss import SoupLoss, tokenizer_of

        base = base_of(self.model, context)
        directories = [student_of(name, context) for name in self.students]
        tokenizer = tokenizer_of(base, directories, context.workdir / "tokenizer")
        measure = SoupLoss(tokenizer, self.measured(context), table, context)
        tried, total = Measurements(context.workdir / "losses.json"), 2 * len(self.students) - 1

        def loss_of(chosen: Sequence[int]) -> float:
            context.check()
            name = " + ".join(self.students[place] for place in chosen)
            if name not in tried.found:
                made = context.workdir / "tried"
                merge(base, [directories[place] for place in chosen], made, method="soup")
                tried.add(name, measure(made))
                shutil.rmtree(made)
            loss: float = tried.found[name]
            context.progress(len(tried.found), total, "soups", held_out_loss=loss)
            return loss

        chosen = greedy(len(self.students), loss_of)
        out = context.workdir / "merged"
        merge(base, [directories[place] for place in chosen], out, method="soup")
        # The chosen ones alone may have another template in common than all, with which they were measured.
        write_chat_templates(out, read_chat_templates(tokenizer))
        metrics = {
            "merged": [self.students[place] for place in chosen],
            "held_out_loss": loss_of(chosen),
            "tried": tried.found,
        }
        return Trained(out, metrics, no_history(), measure.left_out)


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
