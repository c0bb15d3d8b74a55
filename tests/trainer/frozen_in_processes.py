"""Two processes that take two steps together over gloo; started by ``test_frozen_in_processes.py``.

Argument: a directory with ``model``. In the second step, the first block is frozen. Each process writes the
adapters and moments after each step to ``RANK.pt``.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed

from gristmill.contracts.inference import ModelWeights
from gristmill.trainer.adapters.adapter_settings import AdapterSettings
from gristmill.trainer.adapters.load_adapted import load_adapted
from gristmill.trainer.adapters.parameter_groups import parameter_groups
from gristmill.trainer.gradients import StepGradients
from gristmill.trainer.optimizers.adamw import AdamW

folder, size = Path(sys.argv[1]), 2
rank, child = 0, os.fork()
if child == 0:
    rank = 1
distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=size)
model = load_adapted(
    ModelWeights("model", folder / "model", "digest", None),
    AdapterSettings(rank=4, alpha=8),
    seed=1,
    dtype=torch.float32,
    quantize="none",
)
optimizer = AdamW(parameter_groups(model), weight_decay=0.5)
gradients = StepGradients(model, optimizer.parameters, size)
names = {parameter: name for name, parameter in model.named_parameters()}
found: list[dict[str, dict[str, Tensor]]] = []
for step in range(2):
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(step == 0 or not name.startswith("layers.0."))
    optimizer.clear()
    generator = torch.Generator().manual_seed(10 * step + rank)  # other rows in each process
    ids = torch.randint(0, 300, (24,), generator=generator)
    gradients.expect_last()
    torch.nn.functional.cross_entropy(model.logits(ids, [24])[:-1], ids[1:]).backward()
    gradients.finish()
    optimizer.step(1e-2)
    taken: dict[str, Any] = {
        names[parameter]: {"value": parameter.detach().clone()}
        | {name: tensor.clone() for name, tensor in optimizer.states[parameter].items()}
        for parameter in optimizer.parameters
    }
    found.append(taken)
torch.save(found, folder / f"{rank}.pt")
gradients.close()
distributed.destroy_process_group()
if rank == 0:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
