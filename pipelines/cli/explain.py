"""``gristmill explain RUN WEIGHTS``: trace weights to batches, rows, prompts, seeds and models."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ...contracts.counting import counted
from .arguments import whole

if TYPE_CHECKING:
    from ..inspect.explain import Explanation, TrainingBatch


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", help="a run directory")
    parser.add_argument("weights", help="a train step (student, student@1), or the folder of its adapter")
    parser.add_argument("--batch", type=whole, metavar="N", help="show every row of optimizer step N")
    parser.add_argument("--json", action="store_true", help="print JSON: every batch, row and step")


def main(args: argparse.Namespace) -> int:
    from ...contracts.errors import DataError
    from ..inspect.explain import explain
    from ..store.run_directory import RunDirectory
    from .printing import print_json

    found = explain(RunDirectory.open(args.run), args.weights)
    if args.json:
        print_json(found)
        return 0
    if args.batch is None:
        _show(found)
        return 0
    batch = next((each for each in found.batches if each.step == args.batch), None)
    if batch is None:
        steps = [each.step for each in found.batches]
        raise DataError(f"there is no optimizer step {args.batch}: they range from {steps[0]} to {steps[-1]}")
    _show_batch(found, batch)
    return 0


def _show(found: Explanation) -> None:
    from .printing import console, short, table, words

    out = console()
    out.print(words(f"{found.step}, round {found.round}: {found.weights}", style="bold"))
    seeds = {seed for row in found.rows.values() for seed in row.seeds}
    tokens = sum(batch.tokens for batch in found.batches)
    for name, model in found.base.items():
        over = f" with {model['adapter']}" if model.get("adapter") else ""
        out.print(words(f"  over   {name}: {model['path']}{over}, digest {model['digest']}"))
    for name, student in found.students.items():
        out.print(words(f"  by     {name}, which is {student}"))
    out.print(
        words(
            f"  from   {counted(len(found.batches), 'optimizer step')} over "
            f"{counted(len(found.rows), 'row')} "
            f"({counted(tokens, 'token')}), which descend from {counted(len(seeds), 'seed')}"
        )
    )
    for each in found.earlier:
        before = {seed for row in each.rows.values() for seed in row.seeds}
        out.print(
            words(
                f"  after  {each.step}@{each.round}: {counted(len(each.batches), 'optimizer step')} over "
                f"{counted(len(each.rows), 'row')}, which descend from {counted(len(before), 'seed')}"
            )
        )
    path = table("step", "round", "operator", "seed", "fingerprint", "models and templates (digests)")
    for step in found.path:
        digests = {**step["models"], **step["content"]}
        told = ", ".join(f"{name} {str(digest)[:16]}" for name, digest in digests.items())
        seed = "" if step["seed"] is None else step["seed"]
        cells = (step["name"], step["round"], step["operator"], seed, step["fingerprint"][:12], told)
        path.add_row(*map(words, cells))
    out.print(path)
    batches = table("batch", "loss", "lr", "tokens", "rows", numbers=("batch", "loss", "lr", "tokens"))
    for batch in found.batches:
        names = ", ".join(name for name, _ in batch.rows[:4])
        names += f" and {len(batch.rows) - 4} more" if len(batch.rows) > 4 else ""
        batches.add_row(
            str(batch.step), f"{batch.loss:.4f}", f"{batch.lr:.2e}", f"{batch.tokens:,}", words(names)
        )
    out.print(batches)
    hardest = sorted(_losses(found).items(), key=lambda each: -each[1])[:8]
    if hardest:
        rows = table("rows with the greatest last loss", "loss", "seeds", "prompt", numbers=("loss",))
        for name, loss in hardest:
            origin = found.rows[name]
            row = (name, f"{loss:.3f}", ", ".join(origin.seeds), short(origin.prompt, 60))
            rows.add_row(*map(words, row))
        out.print(rows)
    out.print("every row of a batch: --batch N; everything: --json; one row: gristmill why RUN ROW")


def _show_batch(found: Explanation, batch: TrainingBatch) -> None:
    from .printing import console, short, table, words

    out = console()
    out.print(
        words(f"optimizer step {batch.step} of {found.step}, round {found.round}: loss {batch.loss:.4f}")
    )
    rows = table("row", "loss", "seeds", "sample", "prompt", "response", numbers=("loss", "sample"))
    for name, loss in batch.rows:
        origin = found.rows[name]
        cells = (
            name,
            "" if loss is None else f"{loss:.3f}",
            ", ".join(origin.seeds),
            "" if origin.sample is None else origin.sample,
            short(origin.prompt, 50),
            short(origin.response, 50),
        )
        rows.add_row(*map(words, cells))
    out.print(rows)


def _losses(found: Explanation) -> dict[str, float]:
    """The loss of each row when it was last trained on."""
    return {name: loss for batch in found.batches for name, loss in batch.rows if loss is not None}
