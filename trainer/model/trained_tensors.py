"""Embeddings, norms and head that are trained beside adapters: a float32 change of each stored tensor.

As in :mod:`gristmill.trainer.adapters.delta`, the change is never rounded, and the sum is rounded once to the
computation dtype: training sees the tensor that merging writes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from .trained_parts import Part

if TYPE_CHECKING:
    from .decoder import Decoder

EMBEDDINGS, HEAD, NORM = "model.embed_tokens.weight", "lm_head.weight", "model.norm.weight"


class TrainedTensor(nn.Module):
    """The tensor ``stored`` and its trained change ``delta``, float32, of its shape and initially zero.

    ``offset``: what was added to the checkpoint's tensor, as to the norms of Gemma.
    """

    def __init__(self, stored: Tensor, offset: float = 0.0) -> None:
        super().__init__()
        self.stored, self.offset = stored, offset
        self.delta = nn.Parameter(torch.zeros(stored.shape, device=stored.device))

    def value(self) -> Tensor:
        """Return the changed tensor in the dtype of the stored one, differentiable."""
        return (self.stored + self.delta).to(self.stored.dtype)

    def rows(self, ids: Tensor) -> Tensor:
        """Return the rows ``ids`` (tokens,) of the changed tensor, without forming the others."""
        return (embedding(ids, self.stored) + embedding(ids, self.delta)).to(self.stored.dtype)

    def whole(self) -> Tensor:
        """Return the changed tensor of the checkpoint in float32, detached."""
        return self.stored.float() - self.offset + self.delta.detach()

    def load(self, whole: Tensor) -> None:
        """Make the checkpoint's tensor ``whole``. Raises RuntimeError for another shape."""
        if whole.shape != self.stored.shape:
            raise RuntimeError(f"{list(whole.shape)}, not {list(self.stored.shape)}")
        with torch.no_grad():
            self.delta.copy_(whole.to(self.delta.device).float() + self.offset - self.stored.float())


def trained_in(modules: nn.ModuleDict, name: str) -> TrainedTensor | None:
    """Return the trained tensor called ``name``, None if there is none."""
    found = dict(modules.items()).get(name)
    return found if isinstance(found, TrainedTensor) else None


def current(modules: nn.ModuleDict, name: str, stored: Tensor) -> Tensor:
    """Return the tensor ``name`` as training has changed it so far, or as ``stored``."""
    found = trained_in(modules, name)
    return stored if found is None else found.value()


def train_parts(model: Decoder, parts: Collection[Part]) -> None:
    """Make the ``parts`` of the model trainable, from where they are.

    If the head is tied to the embeddings, both are one tensor, which either of the two parts trains.
    """
    tied = model.stored_head is model.embeddings
    if "embeddings" in parts or ("head" in parts and tied):
        model.trained["embeddings"] = TrainedTensor(model.embeddings)
    if "head" in parts and not tied:
        model.trained["head"] = TrainedTensor(model.stored_head)
    elif tied and "embeddings" in model.trained:
        model.trained["head"] = model.trained["embeddings"]
    if "norms" in parts:
        offset = model.config.norm_offset
        model.trained["norm"] = TrainedTensor(model.norm, offset)
        for block in model.blocks():
            for name, weight in block.norms.items():
                block.trained[name.rsplit(".", 1)[-1]] = TrainedTensor(weight, offset)


@contextmanager
def without_trained(model: Decoder) -> Iterator[None]:
    """Let the model compute with its stored embeddings, norms and head meanwhile."""
    held = {module: module.trained for module in (model, *model.blocks())}
    try:
        for module in held:
            module.trained = nn.ModuleDict()
        yield
    finally:
        for module, trained in held.items():
            module.trained = trained


def trained_tensors(model: Decoder) -> dict[str, TrainedTensor]:
    """Return the trained tensors by their names in a checkpoint, each once."""
    places = {"embeddings": EMBEDDINGS, "head": HEAD, "norm": NORM}
    found: dict[str, TrainedTensor] = {}
    for name, place in places.items():
        trained = trained_in(model.trained, name)
        if trained is not None and trained not in found.values():
            found[place] = trained
    for number, block in enumerate(model.blocks()):
        for name in block.norms:
            trained = trained_in(block.trained, name.rsplit(".", 1)[-1])
            if trained is not None:
                found[f"model.layers.{number}.{name}.weight"] = trained
    return found
