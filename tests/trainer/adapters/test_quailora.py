"""QuAILoRA and LQ-LoRA: factors that make up for a quantization error where the data say that it matters."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from gristmill.contracts.errors import ModelError
from gristmill.contracts.inference import ModelWeights
from gristmill.trainer.adapters.adapter_settings import AdapterSettings
from gristmill.trainer.adapters.initialization import InitializationData
from gristmill.trainer.adapters.layer_statistics import damped, weight_gradients
from gristmill.trainer.adapters.load_adapted import load_adapted
from gristmill.trainer.adapters.lq_lora import alternate, fit, importance
from gristmill.trainer.adapters.peft_files import save_adapter
from gristmill.trainer.adapters.quailora import made_up
from gristmill.trainer.adapters.training_record import TrainingRecord
from gristmill.trainer.data.examples import Example, TokenSequence
from gristmill.trainer.data.packs import Pack
from gristmill.trainer.losses.objective import StepContext
from gristmill.trainer.losses.token_loss import TokenObjective, cross_entropy
from gristmill.trainer.merging.trained_source import TrainedSource
from gristmill.trainer.methods.sft import SupervisedFineTuning
from gristmill.trainer.model.decoder import Decoder
from gristmill.trainer.model.loading import load_model
from gristmill.trainer.model.weight_formats import FORMATS, dense

N, K, RANK, SCALE = 9, 7, 2, 1.5


def _case() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(40, K, generator=generator, dtype=torch.float64) * torch.logspace(0, -1, K)
    return torch.randn(N, K, generator=generator, dtype=torch.float64), damped(x.T @ x / 40)


def test_the_factors_minimize_the_error_on_the_inputs() -> None:
    error, covariance = _case()
    a, b = made_up(error, covariance, RANK, SCALE)
    context = damped(covariance)  # what made_up measures with

    def loss(a: Tensor, b: Tensor) -> Tensor:
        left = error - SCALE * b @ a
        return (left @ context @ left.T).trace()

    # The paper's method, alternating least squares, from a plain decomposition.
    u, s, vt = torch.linalg.svd(error)
    plain_a, plain_b = vt[:RANK], u[:, :RANK] * s[:RANK] / SCALE
    one_a, one_b = plain_a.clone(), plain_b.clone()
    for _ in range(2000):
        one_b = error @ context @ one_a.T @ torch.linalg.inv(one_a @ context @ one_a.T) / SCALE
        one_a = torch.linalg.solve(one_b.T @ one_b, one_b.T @ error) / SCALE
    torch.testing.assert_close(loss(a, b), loss(one_a, one_b), atol=1e-9, rtol=1e-6)
    assert loss(a, b) < 0.98 * loss(plain_a, plain_b)


def test_importance_is_the_mean_root_of_each_row_and_column() -> None:
    rows, columns = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.5, 1.5])
    found = importance((rows[:, None] * columns).square())
    torch.testing.assert_close(found[0], rows / 2)
    torch.testing.assert_close(found[1], columns)


def _pack() -> Pack:
    ids = torch.randint(0, 300, (60,), generator=torch.Generator().manual_seed(5)).tolist()
    return Pack.of([Example("row", (TokenSequence(tuple(ids), (False, *[True] * 59)),))], torch.device("cpu"))


def _loss(model: Decoder, pack: Pack) -> Tensor:
    return TokenObjective(cross_entropy).loss(model, pack, StepContext(59.0, 0.0)).loss


def _load(path: Path, adapter: Path | None = None, **settings: object) -> tuple[Decoder, AdapterSettings]:
    chosen = AdapterSettings.model_validate({"rank": 4, "alpha": 6, **settings})
    data = InitializationData([_pack()], _loss)
    weights = ModelWeights("base", path, "digest", adapter)
    model = load_adapted(weights, chosen, seed=1, data=data, dtype=torch.float32, quantize="nf4")
    return model.eval(), chosen


@pytest.mark.parametrize("init", ["quailora", "lq_lora"])
def test_the_start_is_nearer_to_the_original_and_the_trained_weights_are_found_again(
    init: str, make_model, tmp_path: Path
) -> None:
    path, ids = make_model(), _pack().ids
    model, settings = _load(path, init=init)
    plain, _ = _load(path)
    with torch.no_grad():
        original = load_model(path, dtype=torch.float32).logits(ids, [len(ids)])
        near, far = ((each.logits(ids, [len(ids)]) - original).norm().item() for each in (model, plain))
    assert near < 0.95 * far
    for _, linear in model.linears():
        with torch.no_grad():
            linear.adapter.b.add_(0.05)
    record = TrainingRecord(settings, 1, "nf4", (), "fp32")
    save_adapter(model, tmp_path / "adapter", settings.peft(str(path)), ids, record)
    source = TrainedSource(tmp_path / "adapter")
    stored = dict(load_model(path, dtype=torch.float32).linears())
    for name, linear in model.linears():
        base = source.base(f"model.{name}.weight", stored[name].weight())
        torch.testing.assert_close(base, linear.weight(), atol=1e-6, rtol=1e-5, msg=name)
        merged = source.adapter(f"model.{name}", linear.shape).merged(base)
        torch.testing.assert_close(merged, linear.adapter.merged(linear.weight()), atol=1e-5, rtol=1e-4)
    with pytest.raises(ModelError, match="training cannot continue from an adapter of init"):
        _load(path, adapter=tmp_path / "adapter", init=init)


def test_the_fit_of_lq_lora_is_weighted() -> None:
    error, generator = _case()[0], torch.Generator().manual_seed(2)
    rows, columns = (torch.rand(size, generator=generator, dtype=torch.float64) + 0.1 for size in (N, K))
    a, b = fit(error, rows, columns, RANK, SCALE, None, generator)
    left = rows[:, None] * (error - SCALE * b @ a) * columns
    best = torch.linalg.svdvals(rows[:, None] * error * columns)[RANK:].norm()
    torch.testing.assert_close(left.norm(), best)


def _start_error(left: Tensor, weights: tuple[Tensor, Tensor]) -> float:
    return (weights[0][:, None] * left * weights[1]).norm().item()


def test_lq_lora_starts_with_nothing_quantized_and_stops_when_the_error_rises() -> None:
    generator = torch.Generator().manual_seed(2)
    full = torch.randn(N, K, generator=generator)
    rows, columns = (torch.rand(size, generator=generator) + 0.1 for size in (N, K))
    settings = AdapterSettings(
        init="lq_lora", rank=RANK, alpha=SCALE * RANK, svd_iterations=None, loftq_turns=9
    )
    quantized: list[Tensor] = []

    def rounded(weight: Tensor) -> Tensor:
        step = weight.abs().max() / 2
        return (weight / step).round() * step

    def hold(weight: Tensor) -> Tensor:
        quantized.append(weight)
        return rounded(weight)

    factors, base = alternate(full, (rows, columns), hold, settings, generator)
    missing, errors = full, []
    for given in quantized:
        a, b = fit(missing, rows, columns, RANK, SCALE, None, generator)
        torch.testing.assert_close(given, full - SCALE * b @ a)
        errors.append(_start_error(given - rounded(given), (rows, columns)))
        missing = full - rounded(given)
    assert errors == pytest.approx([0.6413, 0.4810, 0.4462, 0.4536], abs=1e-3)
    found = _start_error(full - base - SCALE * factors.b @ factors.a, (rows, columns))
    assert found == pytest.approx(errors[2], rel=1e-5)


def test_the_start_of_lq_lora_is_nearer_where_the_fisher_information_is(make_model) -> None:
    path = make_model()
    model, settings = _load(path, init="lq_lora")
    plain = load_model(path, dtype=torch.float32, quantize="nf4").eval()
    linears = dict(plain.linears())
    fisher = weight_gradients(plain, linears, [_pack()], _loss, squared=True)
    original = dict(load_model(path, dtype=torch.float32).linears())
    for name, linear in model.linears():
        full, weights = original[name].weight(), importance(fisher[name])
        even = torch.ones(len(full)), torch.ones(full.shape[1])
        factors, base = alternate(full, even, FORMATS["nf4"].quantize, settings, torch.Generator())
        unweighted = dense(base, torch.float32) + settings.scale * factors.b @ factors.a
        found = linear.adapter.merged(linear.weight())
        assert _start_error(full - found, weights) < 0.97 * _start_error(full - unweighted, weights), name


def test_a_base_that_is_not_quantized_is_refused() -> None:
    with pytest.raises(ValueError, match="but the base is not quantized: give quantize: nf4"):
        SupervisedFineTuning(model="base", quantize="none", adapter=AdapterSettings(init="quailora"))
