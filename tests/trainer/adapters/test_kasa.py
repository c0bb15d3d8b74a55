"""KaSA: the change has singular values of its own and two regularizers, over a truncated base, as in PEFT."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from gristmill.contracts.inference import ModelWeights, derive_seed
from gristmill.trainer.adapters.adapter_settings import AdapterSettings
from gristmill.trainer.adapters.kasa import KaSA, Truncated
from gristmill.trainer.adapters.load_adapted import load_adapted
from gristmill.trainer.adapters.peft_files import save_adapter
from gristmill.trainer.loop import descend
from gristmill.trainer.model.linear import Linear
from gristmill.trainer.model.loading import load_model
from gristmill.trainer.optimizers.mezo import MeZO
from gristmill.trainer.optimizers.mezo_settings import Estimate
from gristmill.trainer.optimizers.parameter_places import ParameterPlaces
from gristmill.trainer.passes import PackResult

N, K, RANK = 9, 7, 3
SETTINGS = AdapterSettings(
    kind="kasa", init="truncated", rank=RANK, alpha=6, kasa_singular=0.3, kasa_orthogonal=0.7
)


def _made() -> tuple[KaSA, Tensor]:
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(N, K, generator=generator, dtype=torch.float64)
    adapter = KaSA.over(Linear(weight, None, torch.float64), SETTINGS, RANK, generator).double()
    torch.nn.init.normal_(adapter.b, generator=generator)
    return adapter, weight


def test_the_gradient_of_output_and_penalty_is_that_of_the_definition() -> None:
    adapter, weight = _made()
    x = torch.randn(4, K, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    names = [name for name, _ in adapter.named_parameters()]
    assert set(names) == {"a", "b", "values"}

    def run(*values: Tensor) -> Tensor:
        return torch.func.functional_call(adapter, dict(zip(names, values)), (x, lambda: weight, None))

    assert torch.autograd.gradcheck(run, tuple(adapter.parameters()))
    change = 2.0 * adapter.b @ torch.diag(adapter.values) @ adapter.a
    torch.testing.assert_close(adapter(x, lambda: weight, None), x @ (weight + change).T)
    torch.testing.assert_close(adapter.merged(weight), (weight + change).detach())
    eye = torch.eye(RANK, dtype=torch.float64)
    wanted = 0.3 * adapter.values.square().sum() + 0.7 * (
        torch.linalg.matrix_norm(adapter.b.T @ adapter.b - eye)
        + torch.linalg.matrix_norm(adapter.a @ adapter.a.T - eye)
    )
    torch.testing.assert_close(adapter.penalty(), wanted)
    assert KaSA.count(SETTINGS, (N, K)) == sum(each.numel() for each in adapter.parameters())


@pytest.mark.parametrize("estimate", ["difference", "forward"])
def test_the_penalties_are_in_the_losses_of_mezo(estimate: Estimate) -> None:
    adapter, _ = _made()
    owned = list(adapter.parameters())
    optimizer = MeZO([{"params": owned, "rate": 1.0}], estimate=estimate, epsilon=1e-5)
    optimizer._places = ParameterPlaces(adapter)
    gradients = torch.autograd.grad(adapter.penalty(), owned)
    noise = dict(optimizer._directions(owned, derive_seed(3, 0)))
    slope = sum(float((g * noise[each]).sum()) for each, g in zip(owned, gradients))
    nothing = PackResult(0.0, 0.0, [], [], {})
    found, norm = descend(optimizer, lambda: [nothing], [None, adapter], 0.01, 3)
    assert norm == pytest.approx(abs(slope), rel=1e-4)
    assert found == [nothing], "the loss in the history is without them, as in other trainings"


def test_base_output_and_penalty_are_those_of_peft() -> None:
    from peft import LoraConfig, get_peft_model
    from peft.tuners.lora.config import KasaConfig

    adapter, weight = _made()
    model = nn.ModuleDict({"layer": nn.Linear(K, N, bias=False, dtype=torch.float64)})
    model["layer"].weight.data.copy_(weight)
    config = LoraConfig(
        r=RANK, lora_alpha=6, target_modules=["layer"], kasa_config=KasaConfig(beta=0.3, gamma=0.7)
    )
    theirs = get_peft_model(model, config)
    layer = theirs.base_model.model["layer"].double()
    layer.lora_A["default"].weight.data.copy_(adapter.a.data)
    layer.lora_B["default"].weight.data.copy_(adapter.b.data)
    layer.lora_diag["default"].data.copy_(adapter.values.data)
    base = Truncated(SETTINGS, 1).change("layer", weight, lambda held: held)
    assert isinstance(base, Tensor)
    torch.testing.assert_close(base.double(), layer.base_layer.weight.detach(), atol=1e-5, rtol=1e-4)
    x = torch.randn(4, K, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    torch.testing.assert_close(adapter(x, lambda: base.double(), None), layer(x), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(adapter.penalty(), theirs.base_model._get_kasa_loss().double())


def test_plain_lora_over_the_original_base_is_what_is_saved(make_model, tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    path, ids = make_model(), torch.arange(20)
    weights = ModelWeights("base", path, "digest", None)
    model = load_adapted(weights, SETTINGS, seed=1, dtype=torch.float32).eval()
    original = dict(load_model(path, dtype=torch.float32).linears())
    for name, linear in model.linears():
        torch.nn.init.normal_(linear.adapter.b, std=0.1, generator=torch.Generator().manual_seed(2))
        values = torch.linalg.svdvals(linear.weight())
        assert values[-RANK] < 1e-5 * values[0]
        kept = torch.linalg.svdvals(original[name].weight())[:-RANK]
        torch.testing.assert_close(values[:-RANK], kept, atol=1e-5, rtol=1e-4)
    save_adapter(model, tmp_path / "adapter", SETTINGS.peft(str(path)), ids)
    plain = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    with torch.no_grad():
        theirs = PeftModel.from_pretrained(plain, tmp_path / "adapter")(ids[None]).logits[0]
        ours = model.logits(ids, [len(ids)])
        again = load_adapted(
            ModelWeights("base", path, "digest", tmp_path / "adapter"), SETTINGS, seed=1, dtype=torch.float32
        ).eval()
        torch.testing.assert_close(theirs, ours, atol=2e-3, rtol=1e-3)
        torch.testing.assert_close(again.logits(ids, [len(ids)]), ours, atol=2e-3, rtol=1e-3)


def test_a_truncated_base_is_refused_without_kasa() -> None:
    with pytest.raises(ValueError, match="give kind: kasa, or another init"):
        AdapterSettings(init="truncated")
    with pytest.raises(ValueError, match="init 'pissa' must be truncated"):
        AdapterSettings(kind="kasa", init="pissa")
