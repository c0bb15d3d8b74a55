"""The choice of the device."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.utils.deterministic
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gristmill.contracts.errors import ModelError
from gristmill.kernels import dispatch
from gristmill.kernels.cross_entropy import linear_cross_entropy
from gristmill.kernels.int4 import INT4Tensor
from gristmill.kernels.int8 import INT8Tensor
from gristmill.kernels.nf4 import NestedScales, NF4Tensor
from gristmill.trainer.adapters.adapter_settings import AdapterSettings
from gristmill.trainer.adapters.adapter_table import KINDS
from gristmill.trainer.device import choose_device, fixed_order, free_memory
from gristmill.trainer.model.decoder import LINEARS, Block, Decoder
from gristmill.trainer.model.linear import Linear
from gristmill.trainer.model.model_config import ModelConfig
from gristmill.trainer.model.weight_formats import FORMATS, Base

CPU = torch.device("cpu")


def test_cpu_is_always_to_be_had() -> None:
    assert choose_device("cpu") == CPU


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_auto_is_the_cpu_and_asking_for_one_is_refused() -> None:
    assert choose_device("auto") == CPU
    with pytest.raises(ModelError, match="needs GPU 0, but PyTorch finds 0 GPUs; set device: cpu"):
        choose_device("cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_each_process_takes_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_device("auto") == torch.device("cuda", 0)
    monkeypatch.setenv("LOCAL_RANK", str(torch.cuda.device_count()))
    with pytest.raises(ModelError, match="start as many processes as there are GPUs"):
        choose_device("auto")


def test_memory_is_free() -> None:
    assert free_memory(choose_device("auto")) > 1 << 20


class OneDevice(TorchDispatchMode):
    """Refuses operations on tensors of several devices, except copies and scalars."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor) and leaf.dim()]
        copies = ("aten::copy_", "aten::_to_copy")
        assert len({each.device for each in given}) <= 1 or func.name() in copies, func.name()
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("kind", ["lora", "dora", "delta"])
@pytest.mark.parametrize("quantize", ["none", *FORMATS])
def test_a_step_mixes_no_devices(kind: str, quantize: str, make_model) -> None:
    """Run forward and backward with weights and tokens on the meta device."""
    config, settings = ModelConfig.read(make_model("qwen3")), AdapterSettings(kind=kind)
    with OneDevice(), dispatch.use("plain"):
        gpu = torch.device("meta")

        def empty(*shape: int, dtype: torch.dtype = torch.bfloat16) -> Tensor:
            return torch.empty(shape, dtype=dtype, device=gpu)

        def base(rows: int, columns: int) -> Base:
            count = rows * columns
            if quantize == "int8":
                return INT8Tensor(empty(rows, columns, dtype=torch.int8), empty(rows, dtype=torch.float32))
            packed = empty(count // 2, dtype=torch.uint8)
            if quantize == "nf4":
                codes = empty(count // 64, dtype=torch.uint8)
                scales = NestedScales(codes, empty(1, dtype=torch.float32), empty(dtype=torch.float32))
                return NF4Tensor(packed, scales, (rows, columns))
            if quantize == "int4":
                return INT4Tensor(
                    packed, empty(count // 64), empty(count // 64, dtype=torch.float16), (rows, columns)
                )
            return empty(rows, columns)

        hidden, inner, keys = config.hidden, config.intermediate, config.key_heads * config.head_size
        queries = config.heads * config.head_size
        sizes = [(queries, hidden), (keys, hidden), (keys, hidden), (hidden, queries), (inner, hidden),
                 (inner, hidden), (hidden, inner)]  # fmt: skip
        linears = {name: Linear(base(*size), None, torch.bfloat16) for name, size in zip(LINEARS, sizes)}
        for linear in linears.values():
            linear.adapter = KINDS[kind].over(linear, settings, 4, torch.Generator())
        norms = {name: empty(hidden) for name in ("input_layernorm", "post_attention_layernorm")}
        norms |= {f"self_attn.{name}_norm": empty(config.head_size) for name in "qk"}
        head = empty(config.vocabulary, hidden)
        model = Decoder(config, head, [Block(config, linears, norms)], empty(hidden), head)
        ids, weights = empty(12, dtype=torch.int64), empty(12, dtype=torch.float32)
        loss, _ = linear_cross_entropy(model(ids, [5, 7]), head, ids, weights)
        loss.backward()
        assert all(parameter.grad.device == gpu for parameter in model.parameters())


def _order() -> tuple[bool, bool, bool]:
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.utils.deterministic.fill_uninitialized_memory,
    )


def test_training_on_a_gpu_asks_for_sums_in_a_fixed_order_and_leaves_the_process_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")  # so that the variable is restored afterwards
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    before = _order()
    with fixed_order(on_gpu=False):
        assert _order() == before
        assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ
    with fixed_order(on_gpu=True):
        assert _order() == (True, True, False)
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert _order() == before


def test_no_kernel_adds_floating_point_numbers_by_atomics() -> None:
    """Their order would change from run to run. Whole numbers may be counted so."""
    gpu = Path(dispatch.__file__).parent / "gpu"
    adds = [line.strip() for file in sorted(gpu.glob("*.py")) for line in file.read_text().splitlines()
            if "atomic_" in line]  # fmt: skip
    assert all("int64" in line for line in adds)
