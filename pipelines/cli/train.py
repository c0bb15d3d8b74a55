"""``gristmill train FILE``: train a model on a file of rows, without a pipeline."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ...contracts.counting import counted
from ...contracts.errors import SpecError
from .arguments import add_no_report, add_trust, positive
from .stopping import stopping

if TYPE_CHECKING:
    from ..file.spec import PipelineSpec
    from ..inspect.students import Student

DESCRIPTION = """\
Train on the rows of any data set. FILE has the keys of a `train:` step of a pipeline,
and `data:` for the rows:

  train: sft                      # or text, cft, dpo, kto, orpo, simpo, reward, grpo, distill, weak_to_strong
  model: smollm2-135m-instruct    # a packaged model, a Hugging Face id, a directory
  data: rows.jsonl                # JSON Lines, Parquet, a Hugging Face data set: a path, glob, URL or id
  adapter: {kind: lora, rank: 16}
  epochs: 2
  out: students/first             # default: runs/NAME

Ctrl-C stops cleanly (a second one at once); the same command resumes from the last checkpoint.
The commands for runs work on its directory: gristmill plan, why, explain, report.
Exit codes: 0 done, 1 failed, 2 a mistake in the file, 3 a budget is spent, 130 stopped."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.description = DESCRIPTION
    parser.add_argument("file", help="a training file")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="overrides",
        help="change the file's value, as in epochs=3 or adapter.rank=8",
    )
    add_trust(parser)
    parser.add_argument(
        "--show-tokens",
        type=positive,
        metavar="N",
        help="print the tokens of the first N rows, those that are trained on in [brackets], and stop",
    )
    parser.add_argument("--quiet", action="store_true", help="print only warnings and the result")
    parser.add_argument("--json", action="store_true", help="print one JSON object per event")
    add_no_report(parser)


def main(args: argparse.Namespace) -> int:
    from ..api import run
    from ..file.load import load_training
    from ..inspect.students import student
    from ..plan.read import with_planned
    from ..run.budget import Stop
    from ..view.choose import choose
    from .following import reporting
    from .json_output import events_alone
    from .printing import say
    from .trust import make_sure

    make_sure(args.file, args.overrides, trusted=args.trust)
    try:
        spec = load_training(args.file, args.overrides)
    except SpecError as error:
        raise with_planned(error) from None
    if args.show_tokens is not None:
        return _show_tokens(spec, args)
    stop = Stop()
    tell = not (args.quiet or args.json)
    with events_alone(args.json) as stream:
        view = choose(quiet=args.quiet, json=args.json, stream=stream)
        with reporting(view, wanted=not args.no_report, tell=tell) as following, stopping(stop):
            done = run(args.file, overrides=args.overrides, observer=following, stop=stop)
    made = student(spec, done.directory)
    if args.json:
        import json

        print(json.dumps({"event": "Trained", "adapter": str(made.path), "metrics": dict(made.metrics)}))
    else:
        say("\n".join(f"{name:<8} {text}" for name, text in _told(made)))
    return 0


def _show_tokens(spec: PipelineSpec, args: argparse.Namespace) -> int:
    """Print the tokens of the rows. The rows are read first, unless a finished training has read them."""
    from ..api import run
    from ..inspect.labels import labels, sources_to_read
    from ..run.budget import Stop
    from ..run.events import Observers
    from ..store.run_directory import RunDirectory
    from .printing import say

    for name in sources_to_read(spec, args.file):
        stop = Stop()
        with stopping(stop):
            run(args.file, overrides=args.overrides, observer=Observers(), stop=stop, until=name)
    text, refused = labels(spec, args.file, RunDirectory.open(spec.directory), args.show_tokens)
    say(text)
    if refused is not None:
        raise refused
    return 0


def _told(made: Student) -> list[tuple[str, str]]:
    """The result of the training and the next commands."""
    metrics = made.metrics
    held = f", held out {metrics['held_out_loss']:.4f}" if "held_out_loss" in metrics else ""
    lines = [
        (
            "trained",
            f"{counted(metrics['rows'], 'row')} in {counted(metrics['steps'], 'step')}, "
            f"{counted(metrics['trained_tokens'], 'trained token')}, "
            f"{metrics['tokens_per_s']:,.0f} tokens/s with their prompts",
        ),
        (
            "loss",
            f"{metrics['loss_first']:.4f} in the first step, {metrics['loss_last']:.4f} in the last{held}",
        ),
    ]
    if left := metrics["left_out"]:
        lines.append(("left out", ", ".join(f"{count:,} {why}" for why, count in left.items())))
    if left := metrics.get("held_out_left_out"):
        reasons = ", ".join(f"{count:,} {why}" for why, count in left.items())
        lines.append(("held out", f"{counted(metrics['held_out_rows'], 'row')}, without {reasons}"))
    if drawn := metrics.get("drawn"):
        lines.append(
            (
                "drawn",
                "; ".join(
                    f"{name} {each['share']:.1%} of the tokens, {each['passes']:.2g} passes"
                    for name, each in drawn.items()
                ),
            )
        )
    parts = ", ".join(f"{name} {size:,}" for name, size in metrics["memory_plan_mib"].items() if size)
    inside = f" (of it {parts})" if parts else ""
    lines.append(
        (
            "memory",
            f"predicted {metrics['predicted_memory_mib']:,} MiB{inside}, measured "
            f"{metrics['peak_memory_mib']:,} MiB",
        )
    )
    lines.append((made.kind, str(made.path)))
    if made.serve is not None:
        lines.append(("serve", made.serve))
    if made.merge is not None:
        lines.append(("merge", made.merge))
    return lines
