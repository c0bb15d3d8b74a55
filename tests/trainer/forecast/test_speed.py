"""The FLOP of a step compared with torch's count, and a fast measurement of the matrix rate."""

from __future__ import annotations

import time
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from gristmill.contracts.inference import ModelWeights
from gristmill.trainer.adapters.adapter_settings import AdapterSettings
from gristmill.trainer.adapters.load_adapted import load_adapted
from gristmill.trainer.data.examples import Example, TokenSequence
from gristmill.trainer.data.packs import Pack
from gristmill.trainer.forecast.memory_plan import block_weights
from gristmill.trainer.forecast.speed import StepWork, matmul_rate
from gristmill.trainer.losses.objective import StepContext
from gristmill.trainer.losses.token_loss import TokenObjective, cross_entropy

FIRST = [f"layers.0.self_attn.{name}" for name in ("q_proj", "k_proj", "v_proj")]


def rows() -> list[Example]:
    def tokens(length: int, prompt: int) -> TokenSequence:
        return TokenSequence(tuple(range(length)), (False,) * prompt + (True,) * (length - prompt))

    return [Example("a", (tokens(120, 30),)), Example("b", (tokens(90, 50),))]


def _in_place_flop(_: object, one: list[int], other: list[int], **__: object) -> int:
    return 2 * one[0] * one[1] * other[1]


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("adapter", [{"rank": 4}, {"kind": "delta"}], ids=str)
def test_the_flop_are_those_that_torch_counts(recompute: bool, adapter: dict[str, Any], make_model) -> None:
    """Compare the FLOP of matrix products with torch's count.

    For dense deltas they are equal, except that q, k and v of the first block need no gradient of their
    input. For a low-rank adapter they agree within 3 %, since some small products are computed twice. On a
    CPU, attention takes twice the causal FLOP, since whole blocks of scores are computed.
    """
    path = make_model(num_hidden_layers=8)
    model = load_adapted(
        ModelWeights("base", path, "digest", None),
        AdapterSettings.model_validate(adapter),
        seed=1,
        dtype=torch.float32,
    )
    model.activations = "recompute" if recompute else "keep"
    config, examples, objective = model.config, rows(), TokenObjective(cross_entropy)
    work = StepWork(
        body=block_weights(config),
        trained=sum(parameter.numel() for parameter in model.parameters()),
        dense="kind" in adapter,
        head=config.vocabulary * config.hidden,
        mixed=config.layers * config.heads * config.head_size,
        recompute=recompute,
    )
    pack = Pack.of(examples, torch.device("cpu"))
    in_place = {torch.ops.aten.addmm_: _in_place_flop}  # which torch does not count
    with FlopCounterMode(display=False, custom_mapping=in_place) as counter:
        objective.loss(model, pack, StepContext(160.0, 0.0)).loss.backward()
    counts = {str(op): count for op, count in counter.get_flop_counts()["Global"].items()}
    squares = 120**2 + 90**2
    attention = (7 + (2 if recompute else 0)) * work.mixed * squares
    assert counts["aten.bmm"] == 2 * attention
    linear = sum(count for op, count in counts.items() if op != "aten.bmm")
    first = sum(linear.shape[0] * linear.shape[1] for name, linear in model.linears() if name in FIRST)
    expected = work.flop(examples) - attention - 2 * first * 210
    assert linear == (expected if work.dense else pytest.approx(expected, rel=0.03))


def test_the_rate_is_measured_in_half_a_second_and_touches_no_random_state() -> None:
    matmul_rate.cache_clear()
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    started = time.process_time()  # independent of other programs
    rate = matmul_rate(torch.float32, "cpu")
    assert time.process_time() - started < 0.5 * torch.get_num_threads()
    assert torch.equal(torch.rand(2), expected)
    x = torch.randn(256, 256)
    started = time.perf_counter()
    for _ in range(20):
        x @ x
    alone = 20 * 2 * 256**3 / (time.perf_counter() - started)
    assert rate > 0.3 * alone
    assert matmul_rate(torch.float32, "cpu") == rate
