"""``gristmill merge``: merge adapters, sparse deltas and fine-tuned models into one model."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import get_args

from ...trainer.model.quantization import Into
from .arguments import add_out, finite, progress_bar, share, whole


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "base", metavar="BASE", help="the base: a packaged model, a Hugging Face id or a directory"
    )
    parser.add_argument(
        "sources",
        metavar="SOURCE",
        nargs="+",
        type=Path,
        help="directories: PEFT adapters, sparse deltas, models fine-tuned from the base",
    )
    parser.add_argument(
        "--method",
        default="task-arithmetic",
        help="task-arithmetic (the weighted sum; the default), soup (the weighted mean), ties, dare, "
        "model-stock or breadcrumbs",
    )
    parser.add_argument(
        "--weight",
        type=finite,
        action="append",
        dest="weights",
        help="of a source, once for each in order (1)",
    )
    parser.add_argument(
        "--density",
        type=share,
        default=0.5,
        help="the share of each tensor's change that ties, dare and breadcrumbs keep (0.5)",
    )
    parser.add_argument(
        "--outliers",
        type=share,
        default=0.01,
        help="the share of each change, its largest entries, that breadcrumbs drops (0.01)",
    )
    parser.add_argument(
        "--depth-scale",
        type=finite,
        nargs=2,
        default=(1.0, 1.0),
        metavar=("FIRST", "LAST"),
        help="factors of the change in the first block and in the last; those between are on a line (1 1)",
    )
    parser.add_argument("--seed", type=whole, default=0, help="of what dare drops (0)")
    parser.add_argument(
        "--into",
        choices=get_args(Into),
        default="original",
        help="add to the original weights (the default), to those that the training of the one adapter held "
        "(exactly the trained model), or to weights in a format",
    )
    parser.add_argument(
        "--skip",
        action="append",
        default=[],
        metavar="LAYER",
        help="with --into a format: a layer that the training left unquantized (down_proj)",
    )
    add_out(parser)


def main(args: argparse.Namespace) -> int:
    from ...trainer.merging.merge import merge
    from ..weights import fetch
    from .printing import say

    with progress_bar("merging") as progress:
        merge(
            fetch(args.base),
            args.sources,
            args.out,
            method=args.method,
            weights=args.weights,
            density=args.density,
            outliers=args.outliers,
            depth_scale=tuple(args.depth_scale),
            seed=args.seed,
            into=args.into,
            skip=args.skip,
            progress=progress,
        )
    say(args.out)
    return 0
