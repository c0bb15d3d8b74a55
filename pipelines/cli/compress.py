"""``gristmill compress``: write what a training changed as signs and scales (ComPEFT)."""

from __future__ import annotations

import argparse
from pathlib import Path

from .arguments import add_out, finite, progress_bar, share


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "base", metavar="BASE", help="the base: a packaged model, a Hugging Face id or a directory"
    )
    parser.add_argument(
        "source",
        metavar="SOURCE",
        type=Path,
        help="a directory: an adapter, a sparse delta, or a model fine-tuned from the base",
    )
    parser.add_argument(
        "--density",
        type=share,
        default=0.05,
        help="the share of each tensor's entries that are kept, the largest changes (0.05)",
    )
    parser.add_argument(
        "--scale",
        type=finite,
        default=1.0,
        help="the size of what is kept, in standard deviations of the tensor's change (1)",
    )
    add_out(parser)


def main(args: argparse.Namespace) -> int:
    from ...trainer.merging.compress import compress
    from ..weights import fetch
    from .printing import say

    with progress_bar("compressing") as progress:
        made = compress(
            fetch(args.base),
            args.source,
            args.out,
            density=args.density,
            scale=args.scale,
            progress=progress,
        )
    say(
        f"{args.out}: the change of {made.tensors} tensors in {made.bytes / 1e6:.2f} MB, "
        f"{8 * made.bytes / made.weights:.2f} bits per weight; gristmill merge makes a model of it"
    )
    return 0
