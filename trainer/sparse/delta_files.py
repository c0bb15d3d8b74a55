"""Files of sparse deltas.

They hold, for each layer, the indices and changes of the entries that differ from the base.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...contracts.durable import replace_directory
from ...contracts.errors import ModelError
from ..model.decoder import Decoder
from ..model.tensor_files import content_digest
from ..model.trained_tensors import trained_tensors
from .projection import deltas

WEIGHTS, CONFIG = "sparse_delta.safetensors", "sparse_delta.json"
FORMAT = "gristmill sparse delta 1"


def changes(model: Decoder) -> dict[str, nn.Parameter]:
    """Return the trained changes of the model by the names of the tensors that they change."""
    linear = {f"model.{name}.weight": delta for name, delta in deltas(model).items()}
    return linear | {name: trained.delta for name, trained in trained_tensors(model).items()}


def save_delta(model: Decoder, directory: Path, base: str) -> None:
    """Write the model's deltas to ``directory``, read them back and compare.

    ``base``: the base that they apply to, for the reader's information. A layer with tensor name T has two
    tensors: ``T.indices``, int32 (int64 for over 2**31 entries), ascending, row-major; and ``T.values``,
    float32. This takes 8 bytes per entry. The directory is written atomically. Raises ModelError if what was
    read back differs.
    """
    from safetensors.torch import save_file

    tensors: dict[str, Tensor] = {}
    shapes: dict[str, list[int]] = {}
    digests: dict[str, str] = {}
    for key, delta in changes(model).items():
        flat = delta.detach().flatten()
        indices = flat.nonzero()[:, 0]
        tensors[f"{key}.values"] = flat[indices].cpu()
        tensors[f"{key}.indices"] = indices.to(torch.int32 if flat.numel() < 2**31 else torch.int64).cpu()
        shapes[key] = list(delta.shape)
        digests[key] = _digest(tensors[f"{key}.indices"], tensors[f"{key}.values"])
    temporary = directory.with_name(directory.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    save_file(tensors, temporary / WEIGHTS, metadata={"format": "pt"})
    config = {"format": FORMAT, "base_model_name_or_path": base, "shapes": shapes, "digests": digests}
    (temporary / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    again = SparseDelta(temporary)
    for key, delta in changes(model).items():
        if not torch.equal(again.dense(key), delta.detach().cpu()):
            raise ModelError(f"{directory}: the delta of {key} read back differs from the model's")
    replace_directory(temporary, directory)


def _digest(indices: Tensor, values: Tensor) -> str:
    return content_digest({"indices": indices, "values": values})


class SparseDelta:
    """The delta in ``directory``. Raises ModelError if it is not a sparse delta or is damaged."""

    def __init__(self, directory: Path) -> None:
        from safetensors import SafetensorError, safe_open

        self.directory = directory
        try:
            config: dict[str, Any] = json.loads((directory / CONFIG).read_text())
            self._opened: Any = safe_open(directory / WEIGHTS, framework="pt")
        except (OSError, ValueError, SafetensorError) as error:
            raise ModelError(f"{directory}: cannot read a sparse delta ({error})") from None
        if config.get("format") != FORMAT:
            raise ModelError(f"{directory}: its format is {config.get('format')!r}, not {FORMAT!r}")
        self.shapes: dict[str, tuple[int, ...]] = {
            key: tuple(shape) for key, shape in config["shapes"].items()
        }
        self._digests: dict[str, str] = config["digests"]

    def dense(self, name: str) -> Tensor:
        """Return the change of tensor ``name`` (``model.layers.0.mlp.up_proj.weight``), float32."""
        from safetensors import SafetensorError

        shape = self.shapes[name]
        whole = torch.zeros(shape)
        try:
            indices, values = (self._opened.get_tensor(f"{name}.{part}") for part in ("indices", "values"))
            if _digest(indices, values) != self._digests[name]:
                raise ModelError(
                    f"{self.directory}: its delta of {name} is damaged: its values are not those that "
                    "were written"
                )
            whole.view(-1)[indices.long()] = values
        except (SafetensorError, IndexError, RuntimeError) as error:
            raise ModelError(f"{self.directory}: its delta of {name} is damaged ({error})") from None
        return whole

    def load_into(self, model: Decoder) -> None:
        """Load the values into the model's deltas; other layers stay at the base.

        Raises ModelError if the delta changes a layer that has none in this model, or one of another shape.
        """
        layers = changes(model)
        apart = sorted(set(self.shapes) - set(layers))
        if apart:
            raise ModelError(
                f"{self.directory}: it changes layers that this training does not: {', '.join(apart[:3])}"
            )
        with torch.no_grad():
            for key, delta in layers.items():
                if key not in self.shapes:
                    delta.zero_()
                elif self.shapes[key] != tuple(delta.shape):
                    raise ModelError(
                        f"{self.directory}: its {key} is {self.shapes[key]}, but this model's is "
                        f"{tuple(delta.shape)}"
                    )
                else:
                    delta.copy_(self.dense(key))
