"""The weak-to-strong confidence loss and its definition (Burns et al., arXiv 2312.09390, section 4.3)."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
import torch
from torch.nn.functional import cross_entropy, one_hot

from gristmill.trainer.methods.sft import SupervisedFineTuning
from gristmill.trainer.methods.weak_to_strong import WeakToStrong


@pytest.mark.parametrize(("progress", "share"), [(0.0, 0.0), (0.05, 0.15), (0.2, 0.6), (0.9, 0.6)])
def test_loss_and_gradient_are_the_mixture_of_both_cross_entropies(
    lab, texts, context, progress: float, share: float
) -> None:
    """(1 - a) CE(f, weak labels) + a CE(f, the model's most likely tokens), a rising over the first fifth."""
    step = WeakToStrong(model="base", confidence=0.6, ramp=0.2)
    assert step.share(progress) == pytest.approx(share)
    objective = step.objective(context)
    examples = lab.encode(objective, texts)
    losses, counts = [], []
    for example, row in zip(examples, texts):
        (tokens,) = example.sequences
        logits, aims = lab.logits(tokens), lab.aims(tokens)
        size = logits.shape[1]
        own = one_hot(logits.detach().argmax(1), size).double()
        mixed = (1 - share) * one_hot(aims, size).double() + share * own
        each = cross_entropy(logits, mixed, reduction="none")
        weights = torch.tensor(row.get("token_weights", [1.0] * len(each))).double()
        losses.append((weights * each).sum() / weights.sum())
        counts.append(row.get("weight", 1.0) * weights.sum().item())
    found = lab.check(objective, examples, losses, counts, progress=progress)
    plain = lab.run(SupervisedFineTuning(model="base").objective(context), examples)
    if share == 0:
        lab.same(found, plain)
    else:
        assert found[0] < plain[0]  # its own label is the most likely, so its loss is lower
    lab.same(lab.run(objective, examples, capacity=0, progress=progress), found)


def test_without_a_ramp_the_confidence_counts_from_the_start() -> None:
    assert WeakToStrong(model="base", confidence=0.4, ramp=0.0).share(0.0) == 0.4


def test_held_out_losses_are_those_of_the_end_of_the_ramp_at_every_step(
    make_model, rows, stopping, tmp_path: Path
) -> None:
    """A loss near the start of the ramp, which is higher, would never be the best one."""
    path, table = make_model(), pa.Table.from_pylist(rows)

    def losses(ramp: float) -> list[float]:
        step = WeakToStrong.model_validate(
            {
                "model": "base", "confidence": 0.6, "ramp": ramp, "learning_rate": 1e-12, "batch_rows": 6,
                "max_length": 128, "adapter": {"rank": 2}, "dtype": "fp32", "quantize": "none",
                "evaluate_on": "held", "evaluate_every": 1,
            }
        )  # fmt: skip
        trained = step.fit(table, stopping(tmp_path / f"{ramp}", path, tables={"held": table.slice(0, 3)}))
        return [*trained.history["held_out_loss"].to_pylist(), trained.metrics["held_out_loss"]]

    found = losses(ramp=1.0)
    assert len(found) == 4
    assert found == pytest.approx(losses(ramp=0.0), rel=1e-6)
