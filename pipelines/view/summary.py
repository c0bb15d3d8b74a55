"""The summary at the end of a run: steps, scores of each round, speed, memory, and paths."""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator

from rich.box import SIMPLE
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from ...contracts.printable import shown
from ..run.occupancy import told
from .comparison import ComparisonTable
from .gate import gate_lines, whole_loop
from .intervals import Interval, intervals
from .state import RunView, StepView

STATUS = {"done": "done", "budget": "budget spent", "interrupted": "stopped", "failed": "failed"}


def duration(seconds: float) -> str:
    """``7.2 s``, ``3 min 05 s``, ``2 h 04 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def peak_memory() -> tuple[int, int]:
    """Peak resident bytes of this process, and of its largest finished child process."""
    unit = 1 if sys.platform == "darwin" else 1024
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return own * unit, children * unit


def summary(view: RunView, memory: tuple[int, int]) -> RenderableType:
    """The text of the summary. ``memory``: see :func:`peak_memory`."""
    return Group(*_blocks(view, memory))


def headline(view: RunView) -> str:
    """One line: how the run ended, and how to continue."""
    if view.ended is None:
        return "the run has not ended"
    told = view.ended.message if view.ended.status != "done" else ""
    return f"{_ended(view)}. {told}" if told else _ended(view)


def _ended(view: RunView) -> str:
    assert view.ended is not None
    return f"{view.name}: {STATUS[view.ended.status]} after {duration(view.elapsed(view.now))}"


def rounds(view: RunView) -> Iterator[str]:
    """The decision of each round, then every measured mean with its interval, one per line.

    Gains that a table of comparisons shows are left out, and those that the lines of a gate show.
    """
    for result in view.results:
        told = {f"{step}.gain" for table in result.comparisons for step in table.steps}
        of_gate = result.gate["steps"] if result.gate else []
        metrics = {step: found for step, found in result.metrics.items() if step not in of_gate}
        found = [each for each in intervals(metrics) if each.name not in told]
        if found or result.decision != "none":
            why = f" ({result.why})" if result.why else ""
            yield f"round {result.number}" + (
                "" if result.decision == "none" else f": {result.decision}{why}"
            )
        yield from (f"  {line}" for line in (gate_lines(result.gate) if result.gate else ()))
        for interval in found:
            yield f"  {interval.name:<28} {_shown(interval)}"


def _shown(interval: Interval) -> str:
    if interval.before is None or interval.after is None:
        return str(interval)
    return f"{interval.before:.3f} -> {interval.after:.3f}, {interval}"


def _blocks(view: RunView, memory: tuple[int, int]) -> Iterator[RenderableType]:
    finished = [(result.number, result.steps) for result in view.results]
    if not finished or finished[-1][0] != view.round:
        finished.append((view.round, view.steps))
    for number, steps in finished:
        yield _steps(steps, f"round {number} of {view.rounds}" if view.rounds > 1 else view.name, view.now)
        yield from (Text(shown(f"{step.name}: {step.trained}")) for step in steps if step.trained)
        yield from (Text(told(each)) for step in steps if step.status == "done" for each in step.engines)
    for line in rounds(view):
        yield Text(line)
    usage = view.usage
    if usage.requests:
        yield Text(
            f"generated {usage.completion_tokens:,} tokens ({usage.prompt_tokens:,} of prompts) in "
            f"{usage.requests:,} requests, {view.mean_rate(view.now):,.0f} tokens/s"
            + (f", ${usage.usd:,.2f}" if usage.usd else "")
        )
    yield from (_comparison(table) for result in view.results for table in result.comparisons)
    own, children = (size / 2**30 for size in memory)
    yield Text(f"peak memory {own:.2f} GiB here, {children:.2f} GiB in the largest child process")
    yield from (Text(shown(f"data    {location}")) for location in view.locations)
    if view.run:
        yield Text(shown(f"run     {view.run}"))
    # A command that fails prints the error itself.
    failed = view.ended is not None and view.ended.status == "failed"
    yield Text(_ended(view) if failed else headline(view), style="bold")
    if view.results and not failed:
        promoted = sum(result.decision == "promoted" for result in view.results)
        last = whole_loop(view.results[-1].since_start, promoted, len(view.results))
        yield from (Text(line, style="bold") for line in last)


def _comparison(found: ComparisonTable) -> Table:
    table = Table(box=SIMPLE, title=escape(found.title), title_justify="left", pad_edge=False)
    for number, heading in enumerate(found.heading):
        table.add_column(escape(heading), justify="right" if number else "left", no_wrap=number > 0)
    for line in found.lines:
        table.add_row(*map(escape, line))
    return table


def _steps(steps: tuple[StepView, ...], title: str, now: float) -> Table:
    table = Table(box=SIMPLE, title=escape(title), title_justify="left", pad_edge=False)
    table.add_column("step")
    for heading in ("in", "kept", "filtered", "failed", "tokens", "tokens/s", "time"):
        table.add_column(heading, justify="right", no_wrap=True)
    for step in steps:
        over = step.status in ("done", "reused")
        table.add_row(
            Text(f"{step.name}  {step.label}", no_wrap=True, overflow="ellipsis"),
            f"{step.handled:,}" if step.status != "waiting" else "",
            *(f"{n:,}" if step.status != "waiting" else "" for n in (step.kept, step.filtered, step.failed)),
            f"{step.completion_tokens:,}" if step.completion_tokens else "",
            f"{step.rate(now):,.0f}" if step.completion_tokens and over else "",
            "reused" if step.status == "reused" else duration(step.seconds) if over else step.status,
        )
    return table
