"""DyLoRA: a step trains the factors truncated to a drawn rank, and any rank can be kept."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from gristmill.contracts.inference import ModelWeights
from gristmill.trainer.adapters.adapter_settings import AdapterSettings
from gristmill.trainer.adapters.draws import begin_step
from gristmill.trainer.adapters.dylora import DyLoRA
from gristmill.trainer.adapters.load_adapted import load_adapted
from gristmill.trainer.adapters.peft_files import save_adapter
from gristmill.trainer.model.linear import Linear

SHAPE, ALPHA = (7, 5), 6.0


def _made(keep: int | None = None) -> tuple[DyLoRA, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(SHAPE, generator=generator, dtype=torch.float64)
    settings = AdapterSettings(kind="dylora", rank=4, alpha=ALPHA, dylora_keep=keep)
    adapter = DyLoRA.over(Linear(weight, None, torch.float64), settings, 4, generator).double()
    torch.nn.init.normal_(adapter.b, generator=generator)
    return adapter, weight, torch.randn(3, SHAPE[1], generator=generator, dtype=torch.float64)


def test_a_step_uses_the_first_ranks_scaled_by_their_number() -> None:
    adapter, weight, x = _made()
    drawn = set()
    for seed in range(30):
        begin_step([None, adapter], seed)
        rank = adapter.drawn
        drawn.add(rank)
        change = ALPHA / rank * adapter.b[:, :rank] @ adapter.a[:rank]
        adapter.zero_grad()
        y = adapter(x, lambda: weight, None)
        torch.testing.assert_close(y, x @ (weight + change).T)
        y.square().sum().backward()
        assert adapter.a.grad is not None
        assert adapter.a.grad[:rank].abs().min() > 0
        assert not adapter.a.grad[rank:].any()
    assert drawn == {1, 2, 3, 4}
    begin_step([adapter], 5)
    other = _made()[0]
    begin_step([other], 5)
    assert other.drawn == adapter.drawn


def test_a_kept_rank_is_what_is_evaluated_merged_and_saved() -> None:
    adapter, weight, x = _made(keep=2)
    change = ALPHA / 2 * adapter.b[:, :2] @ adapter.a[:2]
    torch.testing.assert_close(adapter.merged(weight), (weight + change).detach())
    adapter.eval()
    torch.testing.assert_close(adapter(x, lambda: weight, None), x @ (weight + change).T)
    with pytest.raises(ValueError, match="dylora_keep is 5, but rank is 4"):
        AdapterSettings(kind="dylora", rank=4, dylora_keep=5)


def test_peft_loads_the_kept_rank(make_model, tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    path, ids = make_model(), torch.arange(20)
    settings = AdapterSettings(kind="dylora", rank=4, alpha=ALPHA, dylora_keep=2)
    model = load_adapted(ModelWeights("base", path, "digest", None), settings, seed=1, dtype=torch.float32)
    for _, linear in model.linears():
        torch.nn.init.normal_(linear.adapter.b, std=0.1, generator=torch.Generator().manual_seed(2))
    model.eval()
    save_adapter(model, tmp_path / "adapter", settings.peft(str(path)), ids)
    plain = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    theirs = PeftModel.from_pretrained(plain, tmp_path / "adapter")
    assert theirs.peft_config["default"].r == 2
    with torch.no_grad():
        torch.testing.assert_close(
            theirs(ids[None]).logits[0], model.logits(ids, [len(ids)]), atol=1e-4, rtol=1e-4
        )
