"""MeZO: the slope along noise that is drawn again from its seed, its sparse and blockwise forms."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from gristmill.contracts.errors import DataError, ModelError
from gristmill.contracts.inference import ModelWeights, derive_seed
from gristmill.contracts.training import Trained
from gristmill.trainer.adapters.adapter_settings import AdapterSettings
from gristmill.trainer.adapters.dylora import DyLoRA
from gristmill.trainer.adapters.load_adapted import load_adapted
from gristmill.trainer.adapters.parameter_groups import parameter_groups
from gristmill.trainer.data.examples import Example, TokenSequence
from gristmill.trainer.forecast.step_plan import plan_step, resting_weights, state_bytes, trained_weights
from gristmill.trainer.methods.mft import MaskedThoughtFineTuning
from gristmill.trainer.methods.sft import SupervisedFineTuning
from gristmill.trainer.model.model_config import ModelConfig
from gristmill.trainer.optimizers.mezo import MeZO
from gristmill.trainer.optimizers.mezo_rules import moved

EXAMPLES = [Example(name, (TokenSequence(tuple(range(9)), (False, *[True] * 8)),)) for name in ("one", "two")]


def _parameters(*shapes: tuple[int, ...]) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(1)
    return [nn.Parameter(torch.randn(shape, generator=generator, dtype=torch.float64)) for shape in shapes]


def _noise(shape: torch.Size, seed: int, part: int, number: int) -> Tensor:
    generator = torch.Generator().manual_seed(derive_seed(derive_seed(seed, part), number))
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def _quadratic(parameters: list[nn.Parameter]) -> Callable[[], float]:
    return lambda: sum(float((each * each).sum()) for each in parameters)


def test_a_step_goes_along_the_noise_by_its_slope() -> None:
    """Of the sum of squares, the central difference is exact: 2 w z."""
    owned, rate, decay = _parameters((3, 4), (5,)), 0.01, 0.1
    optimizer = MeZO([{"params": owned, "rate": 1.0}], epsilon=0.1, weight_decay=decay)
    before = [each.detach().clone() for each in owned]
    noise = [_noise(each.shape, 7, 0, number) for number, each in enumerate(owned)]
    slope = sum(float(2 * (w * z).sum()) for w, z in zip(before, noise))
    assert optimizer.descend(_quadratic(owned), rate, 7) == pytest.approx(abs(slope))
    for each, w, z in zip(owned, before, noise):
        torch.testing.assert_close(each.detach(), (1 - rate * decay) * w - rate * slope * z)
    assert all(not state for state in optimizer.states.values())


def test_adam_starts_anew_for_what_was_dropped() -> None:
    parameter = nn.Parameter(torch.zeros(40))
    optimizer = MeZO([{"params": [parameter], "rate": 1.0}], rule="adam")
    kept = torch.arange(40) < 20
    for step in range(60):
        if step == 50:
            optimizer.forget(parameter, kept)
        moves = moved("adam", torch.full((40,), 0.5), optimizer.states[parameter], 0.9, 0.999)
        torch.testing.assert_close(moves, torch.ones(40), rtol=1e-3, atol=0)


@pytest.mark.parametrize("rule", ["sign", "momentum", "adam"])
def test_a_rule_moves_by_its_formula(rule: Any) -> None:
    owned, rate, decay = _parameters((3, 4)), 0.01, 0.1
    optimizer = MeZO([{"params": owned, "rate": 2.0}], rule=rule, epsilon=0.1, weight_decay=decay)
    w = owned[0].detach().clone()
    first, second = torch.zeros_like(w), torch.zeros_like(w)
    for step in (1, 2, 3):
        z = _noise(w.shape, step, 0, 0)
        g = float(2 * (w * z).sum()) * z
        first = 0.9 * first + (g if rule == "momentum" else 0.1 * g)
        second = 0.999 * second + 0.001 * g * g
        adam = first / (1 - 0.9**step) / ((second / (1 - 0.999**step)).sqrt() + 1e-8)
        change = {"sign": g.sign(), "momentum": first, "adam": adam}[rule]
        w = (1 - 2 * rate * decay) * w - 2 * rate * change
        optimizer.descend(_quadratic(owned), rate, step)
        torch.testing.assert_close(owned[0].detach(), w)
    size = {"sign": 0, "momentum": 4, "adam": 8}[rule]
    assert MeZO.state_size((3, 4), rule=rule) == size * 12


@pytest.mark.parametrize(("best", "wanted"), [("none", 0.0), ("forward", 1.0), ("opposite", -1.0)])
def test_a_conservative_step_is_the_best_of_three(best: str, wanted: float) -> None:
    """The losses that the estimate is from are of the sum of squares; those of the steps are given."""
    owned, rate = _parameters((3, 4)), 0.01
    w, z = owned[0].detach().clone(), _noise(owned[0].shape, 7, 0, 0)
    step = rate * float(2 * (w * z).sum()) * z
    places = {"none": w, "forward": w - step, "opposite": w + step}
    asked: list[str] = []

    def loss() -> float:
        if len(asked) < 2:
            asked.append("estimate")
            return _quadratic(owned)()
        asked.append(next(name for name, at in places.items() if torch.allclose(owned[0].detach(), at)))
        return 0.0 if asked[-1] == best else 1.0

    MeZO([{"params": owned, "rate": 1.0}], rule="conservative", epsilon=0.1).descend(loss, rate, 7)
    assert asked[2:] == ["none", "forward", "opposite"]
    torch.testing.assert_close(owned[0].detach(), w - wanted * step)


def test_a_slope_that_is_not_finite_changes_nothing() -> None:
    owned = _parameters((3,))
    before = owned[0].detach().clone()
    slope = MeZO([{"params": owned, "rate": 1.0}]).descend(lambda: float("nan"), 0.1, 1)
    assert slope != slope
    torch.testing.assert_close(owned[0].detach(), before)


def test_random_entries_are_a_share_drawn_anew() -> None:
    changed = []
    for seed in (1, 2):
        owned = _parameters((100, 100))
        before = owned[0].detach().clone()
        optimizer = MeZO([{"params": owned, "rate": 1.0}], entries="random", density=0.2, epsilon=0.5)
        optimizer.descend(_quadratic(owned), 1e-3, seed)
        changed.append((owned[0].detach() - before).abs() > 1e-12)
        assert float(changed[-1].float().mean()) == pytest.approx(0.2, abs=0.02)
    assert not torch.equal(*changed)


def _model(path: Path, kind: str = "delta") -> Any:
    return load_adapted(
        ModelWeights("base", path, "digest", None),
        AdapterSettings.model_validate({"kind": kind}),
        seed=1,
        dtype=torch.float32,
        quantize="none",
        parts=("norms",),
    )


def test_small_weights_of_the_base_alone_are_perturbed(make_model) -> None:
    model = _model(make_model())
    optimizer = MeZO(parameter_groups(model), entries="small", density=0.3, epsilon=0.5)
    optimizer.prepare(model)
    moved = []

    def loss() -> float:
        moved.append({name: linear.adapter.delta.detach().clone() for name, linear in model.linears()})
        return float(len(moved))

    optimizer.descend(loss, 1e-3, 3)
    for name, linear in model.linears():
        sizes, count = linear.weight().abs().flatten(), int(0.3 * linear.weight().numel())
        small = torch.zeros_like(sizes, dtype=torch.bool)
        small[sizes.argsort()[:count]] = True
        for when in (moved[0][name], moved[1][name], linear.adapter.delta.detach()):
            assert torch.equal(when.flatten() != 0, small), name


def test_each_block_has_a_direction_and_losses_of_its_own(make_model) -> None:
    model = _model(make_model(num_hidden_layers=3))
    optimizer = MeZO(parameter_groups(model), blockwise=True, epsilon=0.5)
    optimizer.prepare(model)
    start = {name: each.detach().clone() for name, each in model.named_parameters()}
    moved: list[set[str]] = []

    def loss() -> float:
        moved.append(
            {
                name.split(".")[1] if name.startswith("layers") else "outside"
                for name, each in model.named_parameters()
                if (each - start[name]).abs().max() > 0.1
            }
        )
        return 1.0  # no slope, so that nothing stays changed

    optimizer.descend(loss, 1.0, 3)
    assert moved == [{part} for part in ("0", "1", "2", "outside") for _ in range(2)]


RUNS: dict[str, dict[str, Any]] = {
    "mezo": {"adapter": {"rank": 4, "dropout": 0.3}},
    "small": {"adapter": {"kind": "delta"}, "mezo": {"entries": "small", "density": 0.5}},
    "random": {"mezo": {"entries": "random", "density": 0.5}},
    "blockwise": {"mezo": {"blockwise": True}, "train_embeddings": True},
    "hybrid": {"mezo": {"first_order_blocks": 1}},
    "momentum": {"mezo": {"rule": "momentum"}},
    "adam": {"mezo": {"rule": "adam", "blockwise": True}},
    "conservative": {"mezo": {"rule": "conservative"}},
    "sign": {"mezo": {"rule": "sign"}},
    "forward": {"mezo": {"estimate": "forward"}, "adapter": {"kind": "mam", "rank": 4, "prefix_tokens": 3}},
}


@pytest.mark.parametrize("name", sorted(RUNS))
def test_a_training_that_was_stopped_goes_on_with_the_same_bits(
    name: str, make_model, rows, stopping, stopped, digest, tmp_path: Path
) -> None:
    path, table = make_model(), pa.Table.from_pylist(rows[:9])
    step = SupervisedFineTuning.model_validate(
        {
            "model": "base", "quantize": "none", "dtype": "fp32", "batch_rows": 3, "max_length": 128,
            "learning_rate": 1e-4, "optimizer": "mezo", **RUNS[name],
        }
    )  # fmt: skip
    whole = step.fit(table, stopping(tmp_path / "whole", path))
    parts = stopping(tmp_path / "parts", path, stop_at=2)
    with pytest.raises(stopped):
        step.fit(table, parts)
    parts.stop_at = None
    again = step.fit(table, parts)
    assert digest(again) == digest(whole)
    assert again.history["loss"] == whole.history["loss"]
    assert all(norm > 0 for norm in whole.history["gradient_norm"].to_pylist())
    assert whole.metrics["trainable_parameters"] == trained_weights(step, ModelConfig.read(path))


IN_TRAINING: dict[str, dict[str, Any]] = {
    "dropout": {"adapter": {"rank": 4, "dropout": 0.5}},
    "noise": {"neftune": 15.0},
    "lora_dropout": {"adapter": {"rank": 4, "kind": "lora_dropout", "factor_dropout": 0.5}},
    "drawn rank": {"adapter": {"rank": 4, "kind": "dylora"}},
    "masks": {"train": "mft", "mask": 0.9, "ramp": 0.0, "mask_token": "?"},
}


@pytest.mark.parametrize("name", IN_TRAINING)
def test_what_acts_in_training_acts_on_its_losses(
    name: str, make_model, rows, stopping, digest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, table = make_model(), pa.Table.from_pylist(rows[:6])

    def trained(where: str, train: str = "sft", **options: Any) -> Trained:
        kind = {"sft": SupervisedFineTuning, "mft": MaskedThoughtFineTuning}[train]
        settings = {
            "model": "base", "quantize": "none", "dtype": "fp32", "batch_rows": 3, "max_length": 128,
            "learning_rate": 1e-2, "optimizer": "mezo", "adapter": {"rank": 4}, **options,
        }  # fmt: skip
        return kind.model_validate(settings).fit(table, stopping(tmp_path / where, path))

    found, again = (digest(trained(where, **IN_TRAINING[name])) for where in ("one", "two"))
    assert again == found
    monkeypatch.setattr(DyLoRA, "begin_step", lambda adapter, seed: None)  # always the whole rank
    without = IN_TRAINING[name] if name == "drawn rank" else {}
    assert digest(trained("without", **without)) != found


def test_the_loss_falls_with_many_steps(make_model, rows, stopping, tmp_path: Path) -> None:
    step = SupervisedFineTuning.model_validate(
        {
            "model": "base", "quantize": "none", "dtype": "fp32", "batch_rows": 9, "max_length": 128,
            "optimizer": "mezo", "learning_rate": 3e-4, "schedule": "constant", "epochs": 60,
            "adapter": {"kind": "delta", "targets": ["o_proj"]},
        }
    )  # fmt: skip
    made = step.fit(pa.Table.from_pylist(rows[:9]), stopping(tmp_path / "w", make_model()))
    losses = made.history["loss"].to_pylist()
    assert sum(losses[-10:]) < sum(losses[:10])


def test_a_loss_that_is_not_finite_stops_the_training(make_model, rows, stopping, tmp_path: Path) -> None:
    step = SupervisedFineTuning.model_validate(
        {
            "model": "base", "quantize": "none", "dtype": "fp32", "optimizer": "mezo", "max_length": 128,
            "mezo": {"epsilon": 1e30}, "adapter": {"kind": "delta"},
        }
    )  # fmt: skip
    with pytest.raises(DataError, match="training stopped at step 0"):
        step.fit(pa.Table.from_pylist(rows[:3]), stopping(tmp_path / "w", make_model()))


def test_the_plan_has_no_gradients_and_no_states(make_model) -> None:
    config = ModelConfig.read(make_model())
    step = SupervisedFineTuning.model_validate({"model": "base", "optimizer": "mezo"})
    hybrid = SupervisedFineTuning.model_validate(
        {"model": "base", "optimizer": "mezo", "mezo": {"first_order_blocks": 1}}
    )
    assert state_bytes(step, config) == 0
    assert resting_weights(step, config) == trained_weights(step, config)
    assert resting_weights(hybrid, config) == trained_weights(step, config) // 2
    adam = SupervisedFineTuning.model_validate(
        {"model": "base", "optimizer": "mezo", "mezo": {"rule": "adam", "estimate": "forward"}}
    )
    plans = [
        plan_step(each, config, torch.device("cpu"), False, EXAMPLES, [[[0], [1]]], 0, 0)
        for each in (step, adam)
    ]
    # Two moments, and the noise; tangents beside the activations.
    assert plans[1].adapters - plans[0].adapters == 12 * trained_weights(step, config)
    assert plans[1].activations == 2 * plans[0].activations


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"mezo": {"epsilon": 1e-2}}, "has the options of optimizer: mezo"),
        ({"optimizer": "mezo", "mezo": {"entries": "small"}}, "give adapter: {kind: delta}"),
        ({"optimizer": "mezo", "mezo": {"density": 0.5}}, "density needs entries"),
        ({"optimizer": "mezo", "mezo": {"estimate": "forward", "epsilon": 0.1}}, "epsilon is the size of a"),
        ({"optimizer": "mezo", "mezo": {"rule": "sign"}, "betas": (0.9, 0.9)}, "rule: sign has no moments"),
        ({"optimizer": "mezo", "adapter": {"kind": "delta"}, "sparse": {}}, "remove sparse"),
        ({"optimizer": "mezo", "shard": True}, "perturbs whole weights"),
        (
            {"optimizer": "mezo", "mezo": {"estimate": "forward"}, "adapter": {"kind": "bone"}},
            "not go through adapter",
        ),
        (
            {"optimizer": "mezo", "mezo": {"estimate": "forward"}, "quantize": "halo"},
            "products of quantize: halo",
        ),
        (
            {"optimizer": "mezo", "mezo": {"rule": "adam", "first_order_blocks": 1}},
            "beside rule: sgd, not adam",
        ),
    ],
)
def test_what_does_not_fit_together_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SupervisedFineTuning.model_validate({"model": "base", **given})


def test_more_blocks_than_the_model_has_are_refused(make_model) -> None:
    model = _model(make_model())
    with pytest.raises(ModelError, match="first_order_blocks = 5, but the model has 2"):
        MeZO(parameter_groups(model), first_order_blocks=5).prepare(model)
