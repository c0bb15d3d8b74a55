"""ComPEFT: Yadav et al., "ComPEFT: Compression for Communicating Parameter Efficient Updates".

arXiv 2311.13171. A change of a model as the signs of its largest entries, and one scale for each tensor.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from ...contracts.durable import replace_directory
from ...contracts.errors import ModelError
from ...kernels.top_k import top_k_mask
from ..model.tensor_files import content_digest
from ..student_files import copy_chat_template

WEIGHTS, CONFIG = "ternary_delta.safetensors", "ternary_delta.json"
FORMAT = "gristmill ternary delta 1"
#: A byte of the gaps that only skips this many entries.
SKIP = 255
PARTS = ("gaps", "signs", "scale")


@dataclass(frozen=True, slots=True)
class Ternary:
    """A tensor whose entries are 0 or plus or minus ``scale`` (float32, a scalar).

    ``gaps``: uint8, for each entry that is not 0 the number of zeros before it; one byte 255 stands for each
    255 zeros of a longer gap. ``signs``: uint8, one bit per entry, 1 for plus, the lowest bit first. This
    takes 9 bits per entry that is not 0 if few gaps are longer, as with a share of 2 % or more.
    """

    gaps: Tensor
    signs: Tensor
    scale: Tensor

    @classmethod
    def of(cls, change: Tensor, density: float, scale: float) -> Self:
        """Compress a change, float32.

        Its ``density`` * n largest entries become their sign times ``scale`` times the standard deviation of
        the whole change. If fewer differ from 0, these alone.
        """
        flat = change.flatten()
        largest = top_k_mask(flat, int(density * flat.numel()))
        places = (largest & (flat != 0)).nonzero()[:, 0]
        gaps = places.diff(prepend=places.new_full((1,), -1)) - 1
        skips = gaps // SKIP
        # Each gap as its skips and, at the end, what is left of it.
        ends = (skips + 1).cumsum(0) - 1
        coded = torch.full((int((skips + 1).sum()),), SKIP, dtype=torch.uint8)
        coded[ends] = (gaps % SKIP).to(torch.uint8)
        bits = (flat[places] > 0).to(torch.uint8)
        bits = torch.nn.functional.pad(bits, (0, -len(bits) % 8)).view(-1, 8)
        signs = (bits << torch.arange(8, dtype=torch.uint8)).sum(1, dtype=torch.uint8)
        return cls(coded, signs, scale * flat.std(correction=0))

    def dense(self, shape: tuple[int, ...]) -> Tensor:
        """Return the whole tensor, float32. Raises IndexError or RuntimeError if it does not fit."""
        ends = self.gaps != SKIP
        places = (self.gaps.long() + ends).cumsum(0)[ends] - 1
        bits = (self.signs[:, None] >> torch.arange(8, dtype=torch.uint8)).bitwise_and(1).flatten()
        whole = torch.zeros(shape)
        whole.view(-1)[places] = self.scale * (2.0 * bits[: len(places)] - 1)
        return whole


def save_ternary(
    directory: Path,
    shapes: dict[str, tuple[int, ...]],
    tensor: Callable[[str], Ternary],
    base: str,
    source: Path,
) -> int:
    """Write a compressed change to ``directory``, atomically, and read it back. Returns its bytes.

    ``shapes``: of each tensor by its name. ``tensor``: returns one. ``base``: the base that it applies to,
    for the reader's information. ``source``: what is compressed, whose chat template is kept. Raises
    ModelError if what was read back differs.
    """
    from safetensors.torch import save_file

    found = {name: tensor(name) for name in shapes}
    parts = {f"{name}.{part}": getattr(each, part) for name, each in found.items() for part in PARTS}
    temporary = directory.with_name(directory.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    save_file(parts, temporary / WEIGHTS, metadata={"format": "pt"})
    config = {
        "format": FORMAT,
        "base_model_name_or_path": base,
        "shapes": shapes,
        "digest": content_digest(parts),
    }
    (temporary / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    copy_chat_template([source], temporary)
    TernarySource(temporary)
    size = (temporary / WEIGHTS).stat().st_size
    replace_directory(temporary, directory)
    return size


class TernarySource:
    """The compressed change in ``directory``, as a source of a merge.

    Raises ModelError if it is not one, or is damaged.
    """

    def __init__(self, directory: Path) -> None:
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        self.directory = directory
        try:
            config: dict[str, Any] = json.loads((directory / CONFIG).read_text())
            self._parts = load_file(directory / WEIGHTS)
        except (OSError, ValueError, SafetensorError) as error:
            raise ModelError(f"{directory}: cannot read a compressed change ({error})") from None
        if config.get("format") != FORMAT:
            raise ModelError(f"{directory}: its format is {config.get('format')!r}, not {FORMAT!r}")
        if content_digest(self._parts) != config["digest"]:
            raise ModelError(f"{directory}: it is damaged: its values are not those that were written")
        self.shapes = {name: tuple(shape) for name, shape in config["shapes"].items()}
        self.names = frozenset(self.shapes)

    def change(self, name: str, weight: Tensor) -> Tensor:
        if self.shapes[name] != tuple(weight.shape):
            raise ModelError(
                f"{self.directory}: its {name} is {self.shapes[name]}, but the base's is "
                f"{tuple(weight.shape)}"
            )
        return Ternary(*(self._parts[f"{name}.{part}"] for part in PARTS)).dense(self.shapes[name])
