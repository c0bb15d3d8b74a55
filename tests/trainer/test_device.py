"""Where training runs, and that a checkpoint's random states go on where they were."""

from __future__ import annotations

import pytest
import torch

from gristmill.pipelines.errors import ModelError
from gristmill.trainer.device import choose_device, free_memory, random_states, set_random_states

CPU = torch.device("cpu")


def test_cpu_is_always_to_be_had() -> None:
    assert choose_device("cpu") == CPU


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_auto_is_the_cpu_and_asking_for_one_is_refused() -> None:
    assert choose_device("auto") == CPU
    with pytest.raises(ModelError, match="asked for GPU 0, and PyTorch sees 0 here; set device: cpu"):
        choose_device("cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_each_process_takes_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_device("auto") == torch.device("cuda", 0)
    monkeypatch.setenv("LOCAL_RANK", str(torch.cuda.device_count()))
    with pytest.raises(ModelError, match="start as many processes as there are GPUs"):
        choose_device("auto")


def test_random_states_go_on_where_they_were() -> None:
    device = choose_device("auto")
    states = random_states(device)
    drawn = torch.rand(3), torch.rand(3, device=device)
    set_random_states(states, device)
    assert torch.equal(torch.rand(3), drawn[0])
    if device.type == "cuda":
        assert torch.equal(torch.rand(3, device=device), drawn[1])


def test_memory_is_free() -> None:
    assert free_memory(choose_device("auto")) > 1 << 20
