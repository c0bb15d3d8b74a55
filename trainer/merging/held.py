"""Export of a training's base as a model, to serve adapters over it that changed their base."""

from __future__ import annotations

import shutil
from pathlib import Path

from ..bitsandbytes_layout import is_part
from ..model import Decoder
from ..placing import place_directory
from ..tensor_files import TensorReader, TensorWriter, check_written, copy_rest
from .merge import drop_quantization


def save_held_base(model: Decoder, source: Path, out: Path) -> None:
    """Write the model in ``source`` to ``out`` with the linear layers of ``model``, without its adapters.

    Their weights are those that the model computes with (dequantized if it is quantized), in the model's
    dtype. All other files are copied. ``out`` is written atomically. Raises ModelError if what was read back
    differs.
    """
    temporary = out.with_name(out.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    linears = {f"model.{name}.weight": linear for name, linear in model.linears()}
    with TensorReader(source) as reader:
        writer = TensorWriter(temporary)
        for name in reader:
            if not is_part(name):
                writer.put(name, linears[name].weight() if name in linears else reader.get(name))
        writer.finish()
    copy_rest(source, temporary)
    drop_quantization(temporary)
    check_written(temporary, writer.digests)
    place_directory(temporary, out)
