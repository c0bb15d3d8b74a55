"""KTO: the formula, the KL estimate from responses to other prompts, and rows without a verdict."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gristmill.contracts.errors import DataError
from gristmill.trainer.data.chat import ChatEncoder
from gristmill.trainer.data.packs import Pack
from gristmill.trainer.losses.objective import StepContext
from gristmill.trainer.methods.kto import KahnemanTverskyOptimization
from gristmill.trainer.model.loading import load_model


@pytest.fixture
def verdicts() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [
        {
            "_id": f"row-{n}",
            "prompt": "ab " * (n // 2 + 1),
            "response": "yes, sir"[: n + 2],
            "passed": n % 3 == 0,
        }
        for n in range(6)
    ]
    rows[1]["weight"] = 2.5
    return rows


def _log_ratios(lab, base, sequences) -> Tensor:
    trained = lab.model
    now = torch.stack([lab.log_p(tokens).sum() for tokens in sequences])
    lab.model = base
    with torch.no_grad():
        before = torch.stack([lab.log_p(tokens).sum() for tokens in sequences])
    lab.model = trained
    return now - before


@pytest.mark.parametrize("loss", ["kto", "apo_zero_unpaired"])
@pytest.mark.parametrize("shift", [3.0, -3.0])
def test_loss_and_gradient_are_the_papers(lab, verdicts, context, loss: str, shift: float) -> None:
    """TRL's KTOTrainer, with the KL estimate above and below zero, in one pack and in several."""
    step = KahnemanTverskyOptimization(
        model="base", beta=0.3, desirable_weight=1.2, undesirable_weight=0.7, loss=loss
    )
    objective, base = step.objective(context), load_model(lab.path, dtype=torch.float64)
    encoded, _ = objective.arrange(lab.encode(objective, verdicts))
    examples = objective.prepare(base, encoded, 60)
    weights = torch.tensor([row.get("weight", 1.0) for row in verdicts], dtype=torch.float64)
    gains = _log_ratios(lab, base, [example.sequences[0] for example in examples])
    kl = torch.zeros(())
    if loss == "kto":
        # A shift of the references of the mismatched pairs makes the estimate positive, or negative.
        examples = [
            replace(each, reference=(each.reference[0], each.reference[1] - shift)) for each in examples
        ]
        crossed = _log_ratios(lab, base, [example.beside[0] for example in examples]) + shift
        kl = ((weights * crossed).sum() / weights.sum()).detach().clamp(min=0)
        assert (kl > 0) == (shift > 0)
    losses = [
        1.2 * (1 - torch.sigmoid(0.3 * (gain - kl)))
        if row["passed"]
        else 0.7 * (1 - torch.sigmoid(0.3 * (kl - gain)))
        for gain, row in zip(gains, verdicts)
    ]
    wanted = sum(weight * each for weight, each in zip(weights, losses)) / weights.sum()
    gradients = lab.gradients(wanted)
    for packs in ([list(range(6))], [[0, 3], [1], [2, 4, 5]]):
        count = float(weights.sum())
        surveyed = 0.0
        if objective.surveys:
            with torch.no_grad():
                surveyed = sum(
                    objective.survey(lab.model, [examples[i] for i in rows], StepContext(count, 0.0))
                    for rows in packs
                )
        for parameter in lab.model.parameters():
            parameter.grad = None
        total = 0.0
        for rows in packs:
            pack = Pack.of([examples[i] for i in rows], torch.device("cpu"))
            found = objective.loss(lab.model, pack, StepContext(count, 0.0, surveyed))
            torch.autograd.backward(found.loss)
            total += found.loss.item()
            for place, i in enumerate(rows):
                assert found.rows[place] == pytest.approx(losses[i].item(), rel=1e-9)
        assert total == pytest.approx(wanted.item(), rel=1e-9)
        for parameter, expected in zip(lab.model.parameters(), gradients):
            assert (parameter.grad - expected).abs().max() <= 1e-9 * expected.abs().max()


def test_the_loop_measures_the_divergence_over_the_whole_step(lab, verdicts, context) -> None:
    from gristmill.trainer.parallel import Processes
    from gristmill.trainer.passes import Passes

    objective = KahnemanTverskyOptimization(model="base").objective(context)
    base = load_model(lab.path, dtype=torch.float64)
    encoded, _ = objective.arrange(lab.encode(objective, verdicts))
    examples = objective.prepare(base, encoded, 1000)
    passes = Passes(lab.model, objective, Processes())
    one = passes.context(examples, [[0, 1, 2, 3, 4, 5]], 0.0)
    many = passes.context(examples, [[4], [0, 5, 2], [1, 3]], 0.0)
    assert one.surveyed != 0.0
    assert many.surveyed == pytest.approx(one.surveyed, rel=1e-9)
    assert one.count == many.count == pytest.approx(7.5)


def test_the_estimate_reads_responses_to_other_prompts_only(lab, context) -> None:
    """Also where the row that is half the rows away has the same prompt."""
    rows = [
        {"_id": f"{n}", "prompt": "ab"[n % 2], "response": text, "passed": n == 0}
        for n, text in enumerate(["one", "two", "three", "four"])
    ]
    objective = KahnemanTverskyOptimization(model="base").objective(context)
    arranged, figures = objective.arrange(lab.encode(objective, rows))
    assert figures == {"rows_desirable": 1.0, "rows_undesirable": 3.0}
    longest = max(example.longest for example in arranged)
    starts = {"a": ["one", "three"], "b": ["two", "four"]}
    for example, row in zip(arranged, rows):
        (own,), (crossed,) = example.sequences, example.beside
        assert crossed.ids[: crossed.trained.index(True)] == own.ids[: own.trained.index(True)]
        told = lab.encoder.show(crossed).split("<")[0]
        assert any(text.startswith(told) for text in starts["b" if row["prompt"] == "a" else "a"])
        assert len(crossed.ids) <= longest


def test_tools_are_rendered(lab, verdicts, context, tmp_path: Path, save_tokenizer) -> None:
    save_tokenizer(tmp_path / "told", template="{{ tools | tojson if tools }}" + lab.encoder.template.text)
    encoder = ChatEncoder(tmp_path / "told")
    objective = KahnemanTverskyOptimization(model="base").objective(context)
    (tokens,) = objective.encode({**verdicts[0], "tools": [{"name": "lookup"}]}, encoder).sequences
    assert encoder.tokenizer.decode(tokens.ids).startswith('[{"name": "lookup"}]<|start|>user')


def test_rows_that_give_no_verdict_or_no_other_prompt_are_refused(lab, verdicts, context) -> None:
    objective = KahnemanTverskyOptimization(model="base").objective(context)
    with pytest.raises(ValueError, match="its 'passed' is None, not true or false"):
        lab.encode(objective, [{**verdicts[0], "passed": None}])
    same = [{**row, "prompt": "ab"} for row in verdicts]
    with pytest.raises(DataError, match="all rows have the same prompt"):
        objective.arrange(lab.encode(objective, same))
    with pytest.raises(DataError, match="no column 'liked'"):
        KahnemanTverskyOptimization(model="base", desirable="liked").check_columns(["prompt", "response"])
