"""``train: multitask``: losses balanced by the size, the difficulty and the convergence of tasks."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from gristmill.contracts.errors import DataError
from gristmill.trainer.data.packs import Pack
from gristmill.trainer.methods.multitask import MultitaskFineTuning
from gristmill.trainer.parallel import Processes
from gristmill.trainer.passes import Passes


@pytest.fixture
def mixed(texts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Two tasks, one of which has six of seven rows."""
    return [{**row, "task": "rare" if n == 3 else "usual"} for n, row in enumerate(texts)]


def arranged(lab, context, rows, **options: Any):
    objective = MultitaskFineTuning(model="base", **options).objective(context)
    examples, figures = objective.arrange(lab.encode(objective, rows))
    return objective, objective.prepare(lab.model, examples, 60), figures


def move(lab, factor: float) -> None:
    """Move the model away from its start."""
    with torch.no_grad():
        for _, linear in lab.model.linears():
            linear.adapter.b.mul_(factor)


def token_weights(row: dict[str, Any], count: int) -> torch.Tensor:
    return row.get("weight", 1.0) * torch.tensor(row.get("token_weights", [1.0] * count)).double()


def test_each_task_has_the_same_share_whatever_its_size(lab, mixed, context) -> None:
    objective, examples, figures = arranged(lab, context, mixed)
    assert figures == {"rows_rare": 1, "rows_usual": 6}
    shares: Counter[str] = Counter()
    tasks: dict[str, list[torch.Tensor]] = {"rare": [], "usual": []}
    losses, counts = [], []
    for example, row in zip(examples, mixed):
        log_p = lab.log_p(example.sequences[0])
        weights = token_weights(row, len(log_p))
        tasks[row["task"]] += [torch.stack([weights * log_p, weights])]
        assert objective.count(example) == pytest.approx(weights.sum().item())
        shares[row["task"]] += example.value * objective.count(example)
        losses.append(-(weights * log_p).sum() / weights.sum())
        counts.append(example.value * objective.count(example))
    assert shares["rare"] == pytest.approx(shares["usual"])
    total, _, _ = lab.check(objective, examples, losses, counts)
    means = [
        -(both[0].sum() / both[1].sum()).item() for each in tasks.values() for both in [torch.cat(each, 1)]
    ]
    assert total == pytest.approx(sum(means) / 2, rel=1e-9), "the mean over tasks of their means"


@pytest.mark.parametrize("options", [{}, {"focal": 2.0}])
def test_each_task_has_its_share_over_steps_of_few_rows(options: Any, lab, mixed, context) -> None:
    """The steps of an epoch have the gradient and loss of all rows in one step, by their tokens or rows."""
    objective, examples, _ = arranged(lab, context, mixed, **options)
    whole, wanted, _ = lab.run(objective, examples)
    counts = [
        row.get("weight", 1.0) if options else token_weights(row, example.trained_tokens).sum().item()
        for example, row in zip(examples, mixed)
    ]
    for size in (1, 2, 3):
        loss, gradients = 0.0, [torch.zeros_like(each) for each in wanted]
        for start in range(0, len(examples), size):
            share = sum(counts[start : start + size]) / sum(counts)
            found = lab.run(objective, examples[start : start + size])
            loss += share * found[0]
            gradients = [summed + share * each for summed, each in zip(gradients, found[1])]
        assert loss == pytest.approx(whole, rel=1e-9)
        for summed, each in zip(gradients, wanted):
            torch.testing.assert_close(summed, each, rtol=1e-9, atol=1e-9 * each.abs().max().item())


def test_a_held_out_task_that_training_lacks_is_measured(lab, mixed, context) -> None:
    objective, _, _ = arranged(lab, context, mixed, convergence=2.0)
    move(lab, 2)
    held = [{**mixed[0], "_id": "other", "task": "another"}, mixed[3], mixed[5]]
    examples, _ = objective.arrange(lab.encode(objective, held))
    passes = Passes(lab.model, objective, Processes.current())
    step_context = passes.context(examples, [range(3)], 1.0)
    assert step_context.surveyed.shape == (2, 2)
    pace = [1.0, *objective.paces(step_context.surveyed).tolist()]
    assert pace[1:] != [1.0, 1.0]
    losses = []
    for example, row in zip(examples, held):
        log_p = lab.log_p(example.sequences[0]).detach()
        weights = token_weights(row, len(log_p))
        losses.append(-(weights * log_p).sum().item() / weights.sum().item())
    assert _measured(passes, examples, step_context) == pytest.approx(
        sum(p * loss for p, loss in zip(pace, losses)) / 3, rel=1e-9
    )


def _measured(passes: Passes, examples, step_context) -> float:
    return sum(part.loss for part in passes.measure(examples, [range(len(examples))], step_context))


def test_the_focal_loss_leaves_less_to_rows_that_are_known(lab, mixed, context) -> None:
    objective, examples, _ = arranged(lab, context, mixed, focal=2.0)
    losses, counts = [], []
    for example, row in zip(examples, mixed):
        log_p = lab.log_p(example.sequences[0])
        weights = token_weights(row, len(log_p))
        likely = (weights * log_p.exp()).sum() / weights.sum()
        losses.append(-((1 - likely) ** 2) * (weights * log_p).sum() / weights.sum())
        # Its weight among the rows of its task.
        of_task = sum(each.get("weight", 1.0) for each in mixed if each["task"] == row["task"])
        counts.append(row.get("weight", 1.0) / of_task)
    whole = lab.check(objective, examples, losses, counts)
    lab.same(lab.run(objective, examples, capacity=0), whole)


def test_the_task_that_converges_slowest_gets_the_largest_weight(lab, mixed, context) -> None:
    objective, examples, _ = arranged(lab, context, mixed, convergence=2.0)

    def task_losses() -> torch.Tensor:
        sums = torch.zeros(2, 2, dtype=torch.float64)
        for example, row in zip(examples, mixed):
            log_p = lab.log_p(example.sequences[0]).detach()
            sums[:, int(row["task"] == "usual")] += torch.stack([-log_p.sum(), torch.tensor(len(log_p))])
        return sums[0] / sums[1]

    assert torch.allclose(objective.at_start, task_losses())
    move(lab, 2)
    pace = (task_losses() / objective.at_start) ** 2
    pace = pace / pace.mean()
    passes = Passes(lab.model, objective, Processes.current())
    contexts = [passes.context(examples, packs, 0.0) for packs in ([range(7)], [[n] for n in range(7)])]
    for step_context in contexts:
        assert torch.allclose(objective.paces(step_context.surveyed), pace)
    pack = Pack.of(list(examples), torch.device("cpu"))
    found = objective.loss(lab.model, pack, contexts[0]).loss
    wanted = 0.0
    for example, row in zip(examples, mixed):
        log_p = lab.log_p(example.sequences[0])
        weights = token_weights(row, len(log_p)) * example.value
        wanted = wanted - pace[int(row["task"] == "usual")] * (weights * log_p).sum()
    assert found.item() == pytest.approx((wanted / contexts[0].count).item(), rel=1e-9)


def test_a_task_without_rows_in_a_step_does_not_count(lab, mixed, context) -> None:
    objective, _, _ = arranged(lab, context, mixed, convergence=1.0)
    surveyed = torch.tensor([[0.0, 30.0], [0.0, 10.0]], dtype=torch.float64)
    assert objective.paces(surveyed).tolist() == [1.0, 1.0]


def test_a_row_without_a_task_and_a_file_without_the_column_are_refused(lab, texts, context) -> None:
    step = MultitaskFineTuning(model="base", task="kind")
    with pytest.raises(ValueError, match="its 'kind' is empty, so it belongs to no task"):
        lab.encode(step.objective(context), [{**texts[0], "kind": ""}])
    with pytest.raises(DataError, match="no column 'kind'"):
        step.check_columns(["prompt", "response"])


def test_a_mixture_which_would_weigh_tasks_again_is_refused() -> None:
    with pytest.raises(ValidationError, match="tasks have equal shares already"):
        MultitaskFineTuning(model="base", mix=(3, 1))
