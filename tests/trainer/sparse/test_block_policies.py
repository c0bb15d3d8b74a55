"""LISA, OwLore and IST: the blocks that they train, their moments, and a training that goes on to the bit."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from gristmill.contracts.errors import ModelError
from gristmill.contracts.inference import ModelWeights
from gristmill.trainer.adapters.adapter_settings import AdapterSettings
from gristmill.trainer.adapters.load_adapted import load_adapted
from gristmill.trainer.adapters.parameter_groups import parameter_groups
from gristmill.trainer.data.examples import Example, TokenSequence
from gristmill.trainer.data.packs import Pack
from gristmill.trainer.forecast.step_plan import resting_weights, trained_weights
from gristmill.trainer.methods.sft import SupervisedFineTuning
from gristmill.trainer.model.decoder import Decoder
from gristmill.trainer.model.model_config import ModelConfig
from gristmill.trainer.optimizers.optimizer import Optimizer
from gristmill.trainer.optimizers.optimizer_table import OPTIMIZERS
from gristmill.trainer.sparse import owlore
from gristmill.trainer.sparse.blocks import BlockPolicy, draw
from gristmill.trainer.sparse.ist import IST
from gristmill.trainer.sparse.lisa import LISA
from gristmill.trainer.sparse.owlore import OwLore

IDS = torch.randint(0, 300, (24,), generator=torch.Generator().manual_seed(3))


def _packs(count: int) -> list[Pack]:
    ids = torch.randint(0, 300, (count, 24), generator=torch.Generator().manual_seed(4)).tolist()
    sequences = [TokenSequence(tuple(each), (False, *[True] * 23)) for each in ids]
    return [Pack.of([Example("a", (each,))], torch.device("cpu")) for each in sequences]


def _model(path: Path, kind: str = "delta", parts: tuple[Any, ...] = ()) -> Decoder:
    return load_adapted(
        ModelWeights("base", path, "digest", None),
        AdapterSettings.model_validate({"kind": kind}),
        seed=1,
        dtype=torch.float32,
        quantize="none",
        parts=parts,
    )


def _step(model: Decoder, policy: BlockPolicy, optimizer: Optimizer, step: int) -> None:
    optimizer.clear()
    policy.before_step(step, optimizer)
    torch.nn.functional.cross_entropy(model.logits(IDS, [24])[:-1], IDS[1:]).backward()
    optimizer.step(1e-2)


def _differ(before: list[list[torch.Tensor]], policy: BlockPolicy) -> set[int]:
    return {
        number
        for number, (old, new) in enumerate(zip(before, policy.blocks))
        if any(not torch.equal(one, other) for one, other in zip(old, new))
    }


def _copy(policy: BlockPolicy) -> list[list[torch.Tensor]]:
    return [[each.detach().clone() for each in block] for block in policy.blocks]


def test_lisa_trains_the_drawn_blocks_and_what_is_outside_of_all(make_model) -> None:
    """A frozen block has no moments."""
    model = _model(make_model(num_hidden_layers=4), parts=("embeddings",))
    policy = LISA(2, 2, seed=5)
    policy.begin(model)
    optimizer = OPTIMIZERS["adamw"](parameter_groups(model), lazy=True)
    embeddings, seen = model.trained["embeddings"].delta, []
    for step in range(8):
        before, table = _copy(policy), embeddings.detach().clone()
        _step(model, policy, optimizer, step)
        chosen = policy.chosen(step // 2)
        assert len(chosen) == 2
        assert _differ(before, policy) == chosen
        assert not torch.equal(embeddings, table)
        seen.append(chosen)
        for number, block in enumerate(policy.blocks):
            assert {bool(optimizer.states[each]) for each in block} == {number in chosen}
    assert len(set(seen)) > 1
    policy.after_step(8, True, optimizer)
    assert all(each.requires_grad for block in policy.blocks for each in block)


def test_moments_of_a_newly_chosen_block_start_anew(make_model) -> None:
    model = _model(make_model(num_hidden_layers=4))

    class Given(LISA):
        def chosen(self, interval: int) -> frozenset[int]:
            return frozenset([{0, 1}, {1, 2}, {0, 2}][interval])

    policy = Given(2, 1, seed=5)
    policy.begin(model)
    optimizer = OPTIMIZERS["adamw"](parameter_groups(model), lazy=True)
    for step in range(3):
        _step(model, policy, optimizer, step)
    updates = [
        {int(optimizer.states[each]["step"]) if optimizer.states[each] else 0 for each in block}
        for block in policy.blocks
    ]
    assert updates == [{1}, {0}, {2}, {0}]


def test_owlore_draws_blocks_with_more_outliers_more_often(make_model, monkeypatch) -> None:
    """Inputs of the same norm."""
    path = make_model(num_hidden_layers=4)
    tensors = load_file(path / "model.safetensors")
    for name in tensors:
        if "proj" in name:
            sizes = torch.ones_like(tensors[name])
            block = int(name.split(".")[2])
            sizes.view(-1)[:block] = 20  # none in block 0, three in block 3
            tensors[name] = sizes
    save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})
    model = _model(path)
    ones = {name: torch.ones(linear.shape[1]) for name, linear in model.linears()}
    monkeypatch.setattr(owlore, "input_squares", lambda *_: ones)
    policy = OwLore(1, 1, 10.0, seed=2)
    policy.begin(model)
    assert policy.scores[0] == 0
    assert [score / policy.scores[1] for score in policy.scores] == pytest.approx([0, 1, 2, 3])
    drawn = Counter(number for step in range(1200) for number in policy.chosen(step))
    assert [drawn[number] / 1200 for number in range(4)] == pytest.approx([0, 1 / 6, 1 / 3, 1 / 2], abs=0.05)


def test_owlores_outliers_are_those_of_weights_times_the_norms_of_their_inputs(make_model) -> None:
    """OWL's formula over the matrices of a block. Half of the first packs is not looked at."""
    path = make_model(num_hidden_layers=3)
    tensors = load_file(path / "model.safetensors")
    tensors["model.layers.1.input_layernorm.weight"][5] = 40.0
    save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})
    model, packs = _model(path), _packs(16)
    model.noise = 50.0  # noise of training, which is not measured
    policy = OwLore(1, 1, 3.0, seed=2)
    policy.packs = iter(packs)
    policy.begin(model)
    assert model.training
    seen: dict[str, list[torch.Tensor]] = {}
    for name, linear in model.linears():
        linear.register_forward_pre_hook(
            lambda module, inputs, name=name: seen.setdefault(name, []).append(inputs[0].detach())
        )
    model.eval()
    for pack in packs[:8]:
        model(pack.ids, pack.lengths)
    wanted = []
    for block in range(3):
        products = torch.cat([
            (linear.weight().abs() * torch.cat(seen[name]).norm(dim=0)).flatten()
            for name, linear in model.linears() if name.startswith(f"layers.{block}.")
        ])  # fmt: skip
        wanted.append((products > 3.0 * products.mean()).double().mean().item())
    assert policy.scores == pytest.approx(wanted, rel=0.02)
    assert min(wanted) > 0


@pytest.mark.parametrize("scores", [[0.0, 0.0, 3e-4, 0.0], [0.0] * 4])
def test_owlore_trains_each_block_at_times(scores: list[float]) -> None:
    policy = OwLore(1, 1, 13.0, seed=2)
    policy.scores = scores
    drawn = Counter(number for step in range(500) for number in policy.chosen(step))
    assert len(drawn) == 4
    assert drawn[2] > 400 or not any(scores)


def test_owlore_goes_on_with_the_scores_that_it_began_with(make_model) -> None:
    policies = [OwLore(1, 1, 3.0, seed=2) for _ in range(2)]
    for policy, seed in zip(policies, (1, 2), strict=True):
        policy.packs = iter(_packs(2))
        policy.begin(_model(make_model(num_hidden_layers=4, name=f"seed-{seed}", seed=seed)))
    began, resumed = policies
    assert began.scores != resumed.scores
    resumed.load(began.state())
    assert [began.chosen(step) for step in range(50)] == [resumed.chosen(step) for step in range(50)]


def test_a_draw_is_without_replacement_and_takes_what_has_no_weight_last() -> None:
    assert all(draw([0.0, 1.0, 0.0, 2.0], 2, seed) == {1, 3} for seed in range(20))
    assert len({draw([1.0] * 5, 2, seed) for seed in range(50)}) > 5


def test_ist_learns_the_importance_of_blocks_from_losses(make_model) -> None:
    """The loss is lower where the adapters of block 2 are not damped: it becomes the most important."""
    model = _model(make_model(num_hidden_layers=4), "lora")
    policy = IST(2, 2, trials=4, damping=0.25, learning=1.0, seed=1)
    policy.begin(model)
    factors = [[adapter.b for adapter in adapters] for adapters in policy._adapters]
    with torch.no_grad():
        for block in factors:
            for b in block:
                b.fill_(1.0)
    asked: list[set[int]] = []

    def loss() -> float:
        values = [{float(b.detach().mean()) for b in block} for block in factors]
        assert values.count({1.0}) == 2
        assert values.count({0.25}) == 2
        asked.append({number for number, value in enumerate(values) if value == {1.0}})
        return -math.log(0.6) if 2 in asked[-1] else -math.log(0.2)

    policy.measure(1, loss)
    assert not asked
    for step in range(0, 40, 2):
        policy.measure(step, loss)
    assert len(asked) == 80
    assert all((b == 1.0).all() for block in factors for b in block)
    assert max(range(4), key=policy.importance.__getitem__) == 2
    often = Counter(number for step in range(300) for number in policy.chosen(step))
    assert often[2] > 290
    again = IST(2, 2, trials=4, damping=0.25, learning=1.0, seed=1)
    again.begin(model)
    again.load(policy.state())
    assert [again.chosen(step) for step in range(9)] == [policy.chosen(step) for step in range(9)]


def test_the_importance_changes_by_the_difference_to_the_mean_reward(make_model) -> None:
    model = _model(make_model(num_hidden_layers=2), "lora")
    policy = IST(1, 1, trials=2, damping=0.5, learning=3.0, seed=4)
    policy.begin(model)
    kept = [policy._drawn("trial", 0, trial) for trial in range(2)]
    losses = iter([1.0, 2.0])
    policy.measure(0, lambda: next(losses))
    wanted, half = [0.0, 0.0], (math.exp(-1) - math.exp(-2)) / 2
    for blocks, sign in zip(kept, (1, -1)):
        for number in blocks:
            wanted[number] += 3.0 * sign * half
    assert policy.importance == pytest.approx(wanted)


LISA_RUN = {"adapter": {"kind": "delta"}, "sparse": {"kind": "lisa", "blocks": 1, "every": 2}}
RUNS: dict[str, dict[str, Any]] = {
    "lisa": {**LISA_RUN, "train_embeddings": True, "activations": "recompute"},
    "owlore": {
        "adapter": {"kind": "delta"}, "sparse": {"kind": "owlore", "blocks": 1, "every": 2},
        "optimizer": "galore", "galore": {"rank": 3, "every": 2},
    },
    "ist": {"adapter": {"rank": 4}, "sparse": {"kind": "ist", "blocks": 1, "every": 2}},
    "galore": {"adapter": {"kind": "delta"}, "optimizer": "galore", "galore": {"rank": 3, "every": 2}},
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(RUNS))
def test_a_training_that_was_stopped_goes_on_with_the_same_bits(
    name: str, make_model, rows, stopping, stopped, digest, tmp_path: Path
) -> None:
    path, table = make_model(num_hidden_layers=3), pa.Table.from_pylist(rows)
    step = SupervisedFineTuning.model_validate(
        {
            "model": "base", "quantize": "none", "dtype": "fp32", "batch_rows": 3, "max_length": 128,
            "learning_rate": 1e-2, **RUNS[name],
        }
    )  # fmt: skip
    whole = step.fit(table, stopping(tmp_path / "whole", path))
    parts = stopping(tmp_path / "parts", path, stop_at=3)
    with pytest.raises(stopped):
        step.fit(table, parts)
    parts.stop_at = None
    again = step.fit(table, parts)
    assert digest(again) == digest(whole)
    assert again.history["loss"] == whole.history["loss"]
    assert whole.metrics["loss_last"] < whole.metrics["loss_first"]
    assert whole.metrics["trainable_parameters"] == trained_weights(step, ModelConfig.read(path))


def test_the_plan_counts_states_of_the_chosen_blocks_only(make_model) -> None:
    config = ModelConfig.read(make_model(num_hidden_layers=4))
    given = {"model": "base", **LISA_RUN, "train_embeddings": True}
    step = SupervisedFineTuning.model_validate(given)
    plain = SupervisedFineTuning.model_validate({"model": "base", "adapter": {"kind": "delta"}})
    assert resting_weights(step, config) == trained_weights(plain, config) * 3 // 4
    assert resting_weights(plain, config) == 0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({**LISA_RUN, "shard": True}, "freezes other blocks"),
        ({"sparse": {"kind": "lisa"}}, "needs an adapter of kind delta"),
        ({"adapter": {"kind": "delta"}, "sparse": {"kind": "ist"}}, "needs an adapter of kind dora or lora"),
        ({"adapter": {"kind": "delta"}, "sparse": {"kind": "owlore"}}, "add optimizer: galore"),
        ({"adapter": {"kind": "delta"}, "sparse": {"kind": "lisa", "ist_trials": 4}}, "has no ist_trials"),
    ],
)
def test_what_does_not_fit_together_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SupervisedFineTuning.model_validate({"model": "base", **given})


def test_more_blocks_than_the_model_has_are_refused(make_model) -> None:
    with pytest.raises(ModelError, match="blocks = 9, but the model has 2"):
        LISA(9, 1, seed=1).begin(_model(make_model()))
