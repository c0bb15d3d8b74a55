"""``gristmill quantize``: quantize the linear layers of a model, tensor by tensor."""

from __future__ import annotations

import argparse

from .arguments import add_out, progress_bar


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a packaged model, a Hugging Face id or a directory")
    parser.add_argument("--format", default="nf4", help="nf4 (the default) or int8")
    parser.add_argument(
        "--skip",
        action="append",
        default=[],
        metavar="LAYER",
        help="a layer to leave unquantized (down_proj)",
    )
    parser.add_argument(
        "--flat-scales", action="store_true", help="keep the scales in 32 bits instead of quantizing them too"
    )
    add_out(parser)


def main(args: argparse.Namespace) -> int:
    from ...trainer.model.quantize import quantize_model
    from ..weights import fetch
    from .printing import say

    with progress_bar("quantizing") as progress:
        done = quantize_model(
            fetch(args.model),
            args.out,
            format=args.format,
            skip=args.skip,
            nested=not args.flat_scales,
            progress=progress,
        )
    say(
        f"{args.out}: {done.tensors} layers in {args.format}, "
        f"{done.bytes_before / 1e6:.1f} MB before, {done.bytes_after / 1e6:.1f} MB after"
    )
    return 0
