"""``gristmill eval MODEL…``: measure models on task files, and compare them item by item."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from .arguments import positive
from .stopping import stopping

if TYPE_CHECKING:
    from ..inspect.evaluation.paired import ModelScore

DESCRIPTION = """\
Ask every MODEL about the same items, and print each score with its interval and its paired
difference from the first MODEL. A MODEL is
  a packaged model, a Hugging Face id, a directory of weights or of an adapter;
  RUN:STEP or RUN:STEP@ROUND, the student of a train step of a run;
  URL#NAME, a model behind a server with an OpenAI-compatible API.

The fields of a task file's rows say what it is:
  constraints  prompt, instruction_id_list, kwargs (IFEval), or constraints of `source: constraints`
  code         prompt, entry_point, test (HumanEval, HumanEval+): the tests run in the sandbox
  numbers      question, answer (GSM8K)
  choice       question, choices, answer (MMLU), or ctx, endings, label (HellaSwag)
  loss         prompt, response, or messages: the mean log-probability per token

Answers are kept in the run directory: the same command reuses them. Items that fail are counted;
an interval of a difference holds whatever they would have given."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.description = DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("models", metavar="MODEL", nargs="+", help="the models; the first is compared with")
    parser.add_argument(
        "--tasks", nargs="+", required=True, metavar="FILE", help="JSON Lines, each as FILE or NAME=FILE"
    )
    parser.add_argument(
        "--limit", type=positive, metavar="N", help="at most N items of each file, drawn at random"
    )
    parser.add_argument(
        "--max-tokens", type=positive, metavar="N", help="of an answer (default: by the tasks)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the items that --limit draws (0)")
    parser.add_argument(
        "--engine",
        choices=("vllm", "transformers"),
        default="vllm",
        help="what serves models on this machine",
    )
    parser.add_argument("--run", metavar="DIR", default="runs/eval", help="the run directory (runs/eval)")
    parser.add_argument("--quiet", action="store_true", help="print only warnings and the result")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def main(args: argparse.Namespace) -> int:
    from ..inspect.evaluation.evaluate import evaluate
    from ..run.budget import Stop
    from ..view.choose import choose
    from .json_output import events_alone
    from .printing import print_json

    stop = Stop()
    with events_alone(args.json), stopping(stop):
        found = evaluate(
            args.models,
            args.tasks,
            args.run,
            observer=choose(quiet=args.quiet or args.json),
            stop=stop,
            engine=args.engine,
            limit=args.limit,
            max_tokens=args.max_tokens,
            seed=args.seed,
        )
    if args.json:
        from dataclasses import asdict

        print_json([asdict(each) for each in found])
    else:
        _show(found)
    return 0


def _show(found: list[ModelScore]) -> None:
    from .printing import console, table, words

    out = table("tasks", "model", "items", "failed", "score", "95 %", "difference", "95 % ", "p", "")
    for each in found:
        out.add_row(
            words(f"{each.tasks} ({each.family})"),
            words(each.model),
            f"{each.n:,}",
            f"{each.failed:,}" if each.failed else "",
            _number(each.score),
            _ends(each.ci_low, each.ci_high),
            _number(each.gain, "+"),
            "" if each.p is None else _ends(each.gain_low, each.gain_high, "+"),
            "" if each.p is None else f"{each.p:.3g}",
            each.shown,
        )
    console().print(out)


def _number(value: float | None, sign: str = "") -> str:
    return "" if value is None else f"{value:{sign}.3f}"


def _ends(low: float | None, high: float | None, sign: str = "") -> str:
    return f"[{_number(low, sign) or '?'}, {_number(high, sign) or '?'}]"
