"""The live view of a run in a terminal: a table that is redrawn four times per second."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import TextIO

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ...contracts.printable import shown
from ..run.events import Event, Notice, RunEnded, RunStarted
from .state import RunView, StepView, fold
from .summary import duration, peak_memory, summary

SIGN = {"waiting": "·", "running": "▸", "done": "✓", "reused": "="}
BARS = "▁▂▃▄▅▆▇█"
STYLE = {"waiting": "dim", "running": "bold", "done": "", "reused": "dim"}


class LiveView:
    """Draws the state of a run. Each event replaces the whole state, so that drawing needs no lock."""

    def __init__(self, stream: TextIO) -> None:
        self.view = RunView()
        self._console = Console(file=stream)
        self._live = Live(
            console=self._console, get_renderable=self._draw, refresh_per_second=4, transient=True
        )

    def on(self, event: Event) -> None:
        self.view = fold(self.view, event)
        if isinstance(event, RunStarted) and not self._live.is_started:
            self._live.start()
        elif isinstance(event, Notice):
            style = "yellow" if event.level == "warning" else ""
            self._console.print(Text(event.text, style=style))
        elif isinstance(event, RunEnded) and self.view.started:
            self._live.stop()
            self._console.print(summary(self.view, peak_memory()))

    def _draw(self) -> RenderableType:
        return draw(self.view, time.time())


def draw(view: RunView, now: float) -> RenderableType:
    """Header, the table of steps, the budget bars, and how to stop."""
    blocks: list[RenderableType] = [_header(view, now), _table(view, now)]
    if view.budget:
        blocks.append(_budget(view, now))
    blocks.append(Text("Ctrl-C stops cleanly; the same command resumes the run.", style="dim"))
    return Group(*blocks)


def _header(view: RunView, now: float) -> Text:
    header = Text(view.name, style="bold")
    if view.rounds > 1:
        header.append(f"  round {view.round}/{view.rounds}", style="cyan")
    header.append(f"  {duration(view.elapsed(now))}  {shown(view.run)}", style="dim")
    rate = view.rate(now)
    if rate is not None:
        header.append(f"  {rate:,.0f} tokens/s", style="green")
        header.append(f" (mean {view.mean_rate(now):,.0f})", style="dim")
    return header


def _table(view: RunView, now: float) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    table.add_column("step")
    for heading in ("in", "kept", "filtered", "failed", "tokens/s", "left"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("", min_width=22)
    for step in view.steps:
        counted = step.status != "waiting"
        table.add_row(
            SIGN[step.status],
            Text.assemble(step.name, "  ", (step.label, "dim"), no_wrap=True, overflow="ellipsis"),
            _of(step) if counted else "",
            f"{step.kept:,}" if counted else "",
            _count(step.filtered, "yellow"),
            _count(step.failed, "red"),
            f"{step.rate(now):,.0f}" if step.completion_tokens else "",
            _left(step, now),
            _bar(step),
            style=STYLE[step.status],
        )
    return table


def _of(step: StepView) -> str:
    if step.status == "running" and step.rows_in:
        return f"{step.handled:,}/{step.rows_in:,}"
    return f"{step.handled:,}"


def _count(rows: int, style: str) -> Text:
    return Text(f"{rows:,}" if rows else "", style=style)


def _left(step: StepView, now: float) -> str:
    if step.status == "reused":
        return "reused"
    if step.status == "done":
        return duration(step.seconds)
    eta = step.eta(now)
    return f"~{duration(eta)}" if eta else ""


def _bar(step: StepView) -> RenderableType:
    """The bar of the running step, with its metrics (the loss, while training). What a training reached."""
    if step.status != "running":
        return step.trained
    fraction = step.fraction()
    figures = "  ".join(f"{name} {value:.4g}" for name, value in step.figures.items())
    if step.held_out:
        figures = f"{figures}  held out {sparkline(step.held_out)} {step.held_out[-1]:.4g}".lstrip()
    figures = f"{step.doing}  {figures}".strip()
    if fraction is None:
        return Text(figures)
    grid = Table.grid(padding=(0, 1))
    grid.add_row(ProgressBar(total=1.0, completed=fraction, width=16), f"{fraction:.0%}", escape(figures))
    return grid


def sparkline(values: Sequence[float], width: int = 16) -> str:
    """The last ``width`` values as bars of eight heights, the lowest to the highest. ``?`` is not finite."""
    shown = values[-width:]
    finite = [value for value in shown if math.isfinite(value)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    scale = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(BARS[round((each - low) * scale)] if math.isfinite(each) else "?" for each in shown)


def _budget(view: RunView, now: float) -> Table:
    grid = Table.grid(padding=(0, 1))
    for name, used in view.spent(now).items():
        limit = view.budget[name]
        form = {"time": duration, "usd": "${:,.2f}".format}.get(name, "{:,.0f}".format)
        shown = f"{form(used)} of {form(limit)}"
        grid.add_row(f"budget: {name}", ProgressBar(total=limit, completed=min(used, limit), width=24), shown)
    return grid
