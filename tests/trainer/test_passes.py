"""Passes through the model never wait for the device, and read all results of a step at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gristmill.contracts.inference import ModelWeights
from gristmill.trainer.adapters.adapter_settings import AdapterSettings
from gristmill.trainer.adapters.load_adapted import load_adapted
from gristmill.trainer.data.chat import ChatEncoder
from gristmill.trainer.data.packs import Pack
from gristmill.trainer.gradients import StepGradients
from gristmill.trainer.losses.objective import Objective, StepContext
from gristmill.trainer.losses.pairs import PairObjective, Responses
from gristmill.trainer.losses.token_loss import TokenObjective, cross_entropy
from gristmill.trainer.model.decoder import Decoder
from gristmill.trainer.parallel import Processes
from gristmill.trainer.passes import Passes

META = torch.device("meta")


def pair_losses(chosen: Responses, rejected: Responses) -> tuple[Tensor, Tensor]:
    apart = chosen.log_probs - rejected.log_probs
    return -nn.functional.logsigmoid(apart), apart


OBJECTIVES: dict[str, Callable[[], Objective]] = {
    "sft": lambda: TokenObjective(cross_entropy),
    "dpo": lambda: PairObjective(pair_losses),
}


def loaded(path: Path, dropout: float = 0.0) -> Decoder:
    return load_adapted(
        ModelWeights("base", path, "digest", None), AdapterSettings(rank=2, alpha=4, dropout=dropout), seed=0,
        dtype=torch.float32, quantize="nf4", device=torch.device("cpu"),
    )  # fmt: skip


def without_values(part: Any) -> Any:
    """The part with tensors that have shapes and no values: whoever asks for a value gets an error."""
    if isinstance(part, nn.Parameter):
        return nn.Parameter(part.detach().to(META), requires_grad=part.requires_grad)
    if isinstance(part, Tensor):
        return part.to(META)
    if isinstance(part, list):
        return [without_values(each) for each in part]
    if isinstance(part, dict):
        return {name: without_values(each) for name, each in part.items()}
    if dataclasses.is_dataclass(part) and not isinstance(part, type):
        fields = {each.name: getattr(part, each.name) for each in dataclasses.fields(part)}
        tensors = {name: without_values(value) for name, value in fields.items() if has_tensors(value)}
        return dataclasses.replace(part, **tensors) if tensors else part
    return part


def has_tensors(value: object) -> bool:
    return isinstance(value, (Tensor, list, dict)) or dataclasses.is_dataclass(value)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_no_pass_asks_for_a_value_of_the_device(name: str, make_model: Callable[..., Path]) -> None:
    path = make_model()
    model, objective, encoder = loaded(path).train(), OBJECTIVES[name](), ChatEncoder(path)
    row: dict[str, Any] = {"_id": "1", "prompt": "ab", "response": "one", "chosen": "yes", "rejected": "no"}
    example = objective.encode(row, encoder)
    for module in model.modules():
        for key, value in list(vars(module).items()):
            if key != "_modules":
                object.__setattr__(module, key, without_values(value))
    passes = Passes(model, objective, Processes())
    found = passes._compute(Pack.of([example, example], META), StepContext(2.0, 0.0), effect=1.0)
    assert found.numbers.device == META
    assert found.numbers.shape == (2 + 2 + len(found.figures),)  # loss and slope, two rows
    assert all(each.grad is not None for each in model.parameters() if each.requires_grad)


def test_the_results_of_all_packs_are_read_together(
    make_model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_model()
    objective, encoder = OBJECTIVES["dpo"](), ChatEncoder(path)
    examples = [
        objective.encode({"_id": f"{n}", "prompt": "ab", "chosen": "yes" * n, "rejected": "no"}, encoder)
        for n in range(1, 4)
    ]
    passes = Passes(loaded(path).eval(), objective, Processes())
    read: list[int] = []
    tolist = Tensor.tolist

    def counted(self: Tensor) -> Any:
        read.append(self.numel())
        return tolist(self)

    monkeypatch.setattr(Tensor, "tolist", counted)
    with torch.no_grad():
        parts = passes.evaluate(examples, [[0, 2], [1]], passes.context(examples, [[0, 2], [1]], 0.0))
    assert read == [2 * 4 + 3]  # of two packs: loss, slope and two figures each, and three rows
    assert [part.ids for part in parts] == [["1", "3"], ["2"]]
    assert [set(part.figures) for part in parts] == [{"margin", "accuracy"}] * 2
    alone = [passes.evaluate(examples, [[n]], StepContext(3.0, 0.0))[0] for n in range(3)]
    assert sum(part.loss for part in parts) == pytest.approx(sum(part.loss for part in alone))
    assert parts[0].row_loss == pytest.approx([alone[0].row_loss[0], alone[2].row_loss[0]])


def test_the_losses_of_a_step_have_the_same_dropout_each_time(make_model: Callable[..., Path]) -> None:
    path = make_model()
    objective, encoder = OBJECTIVES["sft"](), ChatEncoder(path)
    examples = [
        objective.encode({"_id": f"{n}", "prompt": "ab", "response": "one two"}, encoder) for n in range(2)
    ]
    model, packs = loaded(path, dropout=0.5).train(), [[0], [1]]
    for _, linear in model.linears():
        torch.nn.init.normal_(linear.adapter.b, std=0.3, generator=torch.Generator().manual_seed(1))
    passes = Passes(model, objective, Processes())
    step_context = passes.context(examples, packs, 0.0)
    trained = passes.train(examples, packs, step_context, StepGradients(model, [], 1), seed=5)
    with torch.no_grad():
        found = [passes.evaluate(examples, packs, step_context, seed) for seed in (5, 5, 6)]
    assert found[0] == found[1] == trained
    assert found[2] != found[0]
    assert found[0][0].loss != found[0][1].loss, "equal rows in other packs have another dropout"
    assert passes.measure(examples, packs, step_context)[0].loss not in [part.loss for part in found[0]]
