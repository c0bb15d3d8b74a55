"""Writes a model, or a trained adapter merged into its base, as one GGUF file for llama.cpp."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, TypeAlias

from ...contracts.durable import flush
from ...contracts.errors import ModelError
from .llama_cpp import run_converter
from .progress import FetchProgress, silent
from .store import local_path, resolve

#: Types of the matrices; the converter keeps norms in float32. ``auto``: 16 bits, as in the model.
GgufType = Literal["auto", "f32", "f16", "bf16", "q8_0"]
MAGIC = b"GGUF"
#: (base, adapter, directory to write): writes the base with the adapter's change.
Merge: TypeAlias = Callable[[Path, Path, Path], None]


@dataclass(frozen=True, slots=True)
class ExportedGguf:
    """What was written. ``architecture``: by llama.cpp's name. ``tensors``: their number."""

    path: Path
    architecture: str
    tensors: int
    bytes: int


def export_gguf(
    model: str,
    out: Path,
    *,
    type: GgufType = "auto",
    merge: Merge | None = None,
    converter: Path | None = None,
    progress: FetchProgress | None = None,
) -> ExportedGguf:
    """Write the model to the file ``out``, which is read back.

    ``model``: a packaged model, a Hugging Face id, a directory, or an adapter's directory, which ``merge``
    merges into its base first. ``converter``: see :mod:`.llama_cpp`. Raises ModelError if the model cannot be
    exported; then ``out`` is not changed.
    """
    _check_out(model, out)
    weights = resolve(model, progress)
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as work:
        path = weights.path
        if weights.adapter is not None:
            if merge is None:
                raise ModelError(f"{model} is an adapter: merge it into its base first")
            path = Path(work) / Path(model).resolve().name  # the converter names the model after it
            merge(weights.path, weights.adapter, path)
        made = Path(work) / "model.gguf"
        arguments = [str(path), "--outfile", str(made), "--outtype", type]
        run_converter(arguments, converter, progress or silent)
        found = _read_back(made)
        flush(made)
        os.replace(made, out)
    flush(out.parent)
    return ExportedGguf(out, *found)


def _check_out(model: str, out: Path) -> None:
    if out.suffix != ".gguf":
        raise ModelError(f"--out {out}: the file's name must end in .gguf")
    if not out.exists():
        return
    if not out.is_file() or out.open("rb").read(len(MAGIC)) != MAGIC:
        raise ModelError(f"--out {out} exists and is not a GGUF file: give another name")
    if out.resolve() == local_path(model):
        raise ModelError(f"--out {out} is the model that is read: give another name")


def _read_back(made: Path) -> tuple[str, int, int]:
    """Architecture, number of tensors and bytes of the written file."""
    from gguf import GGUFReader

    try:
        reader = GGUFReader(made)
        architecture = reader.get_field("general.architecture")
        assert architecture is not None
        return str(architecture.contents()), len(reader.tensors), made.stat().st_size
    except (OSError, ValueError, AssertionError, KeyError, IndexError) as error:
        raise ModelError(f"llama.cpp's converter wrote no GGUF file that can be read ({error})") from error
