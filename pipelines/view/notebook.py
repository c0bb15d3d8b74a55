"""The view of a run in a notebook: one output that is updated in place, and stays with the notebook."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from html import escape
from typing import Any

from ...contracts.printable import shown
from ..run.events import Event, PartDone, StepProgress
from .intervals import intervals
from .live import SIGN
from .state import RunView, StepView, fold
from .summary import duration, headline

#: Minimum number of seconds between two drawings of rows that come in; all else is drawn at once.
EVERY = 0.5
#: The fates with their colors, as in the report: they can be read on light and on dark notebooks.
COLORS = {"kept": "#2a9484", "filtered": "#d0922a", "failed": "#d4555f"}
_NUMBER = "text-align:right;padding:1px 10px;white-space:nowrap;font-variant-numeric:tabular-nums"
_TEXT = "text-align:left;padding:1px 10px 1px 0;white-space:nowrap"
_DIM = "opacity:.75"


def in_notebook() -> bool:
    """Does this code run in a kernel, whose outputs can be updated? IPython is not imported to find out."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None and hasattr(ipython, "get_ipython") else None
    return hasattr(shell, "kernel")


class NotebookView:
    """Draws the state of a run as HTML. The last drawing says how the run ended."""

    def __init__(self) -> None:
        self.view = RunView()
        self._handle: Any = None
        self._drawn = 0.0

    def on(self, event: Event) -> None:
        self.view = fold(self.view, event)
        often = isinstance(event, (PartDone, StepProgress))
        if not self.view.started or (often and time.monotonic() - self._drawn < EVERY):
            return
        self._drawn = time.monotonic()
        drawing = Drawing(self.view, time.time())
        if self._handle is None:
            # A kernel has loaded it, and nothing else needs IPython.
            self._handle = sys.modules["IPython.display"].display(drawing, display_id=True)
        else:
            self._handle.update(drawing)


class Drawing:
    """What IPython displays: HTML, and a line for where there is none."""

    def __init__(self, view: RunView, now: float) -> None:
        self.view, self.now = view, now

    def _repr_html_(self) -> str:
        return draw(self.view, self.now)

    def __repr__(self) -> str:
        if self.view.ended is not None:
            return shown(headline(self.view))
        return shown(f"{self.view.name}: {', '.join(each.name for each in self.view.steps if _runs(each))}")


def draw(view: RunView, now: float) -> str:
    """The state as HTML. Styles are inline, since notebooks remove style sheets."""
    return (
        '<div class="gristmill-run" style="max-width:100%;overflow-x:auto;line-height:1.5">'
        f"{''.join(_blocks(view, now))}</div>"
    )


def _blocks(view: RunView, now: float) -> Iterator[str]:
    about = [f"round {view.round} of {view.rounds}"] if view.rounds > 1 else []
    about.append(duration(view.elapsed(now)))
    rate = view.rate(now)
    about += [f"{rate:,.0f} tokens/s"] if rate is not None and view.ended is None else []
    yield f'<div><b>{_safe(view.name)}</b> <span style="{_DIM}">{_safe(", ".join(about))}</span></div>'
    heads = "".join(
        f'<th style="{_NUMBER if number else _TEXT};font-weight:normal;{_DIM}">{name}</th>'
        for number, name in enumerate(("step", "in", "kept", "filtered", "failed", "tokens/s", "time"))
    )
    rows = "".join(_row(step, now) for step in view.steps)
    yield (
        '<table style="border-collapse:collapse;border:0;margin:4px 0">'
        f"<thead><tr>{heads}<th></th></tr></thead><tbody>{rows}</tbody></table>"
    )
    for name, used in view.spent(now).items():
        form = {"time": duration, "usd": "${:,.2f}".format}.get(name, "{:,.0f}".format)
        yield f'<div style="{_DIM}">budget: {_safe(name)}, {form(used)} of {form(view.budget[name])}</div>'
    for result in view.results:
        for interval in intervals(result.metrics):
            yield f"<div>{_safe(f'round {result.number}: {interval.name} {interval}')}</div>"
    for notice in view.notices[-5:]:
        color = f"color:{COLORS['filtered']}" if notice.level == "warning" else _DIM
        yield f'<div style="{color}">{_safe(notice.text)}</div>'
    yield f"<div>{_ending(view)}</div>"


def _ending(view: RunView) -> str:
    if view.ended is None:
        told = "Interrupt the kernel to stop cleanly; the same cell resumes the run."
        return f'<span style="{_DIM}">{told}</span>'
    places = "".join(f"<br>data: {_safe(each)}" for each in view.locations)
    return f"<b>{_safe(headline(view))}</b>{places}<br>run: {_safe(view.run)}"


def _row(step: StepView, now: float) -> str:
    counted = step.status != "waiting"
    handled = f"{step.handled:,}"
    if step.status == "running" and step.rows_in:
        handled += f"/{step.rows_in:,}"
    cells = [handled if counted else ""]
    for fate in COLORS:
        rows = getattr(step, fate)
        cells.append(f"{rows:,}" if counted and (rows or fate == "kept") else "")
    cells.append(f"{step.rate(now):,.0f}" if step.completion_tokens else "")
    cells.append(_time(step, now))
    name = f'{SIGN[step.status]} {_safe(step.name)} <span style="{_DIM}">{_safe(step.label)}</span>'
    numbers = "".join(f'<td style="{_NUMBER}">{_safe(cell)}</td>' for cell in cells)
    return (
        f'<tr data-step="{_safe(step.name)}"><td style="{_TEXT}">{name}</td>{numbers}'
        f'<td style="{_TEXT}">{_bar(step)}{_safe(_doing(step))}</td></tr>'
    )


def _time(step: StepView, now: float) -> str:
    if step.status in ("done", "reused"):
        return "reused" if step.status == "reused" else duration(step.seconds)
    left = step.eta(now)
    return f"{duration(left)} left" if left else ""


def _doing(step: StepView) -> str:
    if step.status != "running":
        return step.trained
    figures = [f"{name} {value:.4g}" for name, value in step.figures.items()]
    held_out = [f"held out {step.held_out[-1]:.4g}"] if step.held_out else []
    return " ".join([step.doing, *figures, *held_out]).strip()


def _bar(step: StepView) -> str:
    """The progress of a running step; of a finished one, its rows by their fate."""
    rows = {fate: getattr(step, fate) for fate in COLORS}
    whole = sum(rows.values())
    fraction = step.fraction()
    if step.status == "waiting" or fraction is None or not (whole or fraction < 1):
        return ""
    parts = "".join(
        f'<span style="display:inline-block;height:100%;background:{COLORS[fate]};'
        f'width:{100 * fraction * number / whole:.1f}%"></span>'
        for fate, number in rows.items()
        if number
    )
    if not whole:
        color = COLORS["kept"]
        width = 100 * fraction
        parts = (
            f'<span style="display:inline-block;height:100%;background:{color};width:{width:.1f}%"></span>'
        )
    return (
        '<span style="display:inline-block;width:120px;height:10px;margin-right:8px;overflow:hidden;'
        f'white-space:nowrap;font-size:0;background:rgba(128,128,128,.25)">{parts}</span>'
    )


def _runs(step: StepView) -> bool:
    return step.status == "running"


def _safe(text: object) -> str:
    return escape(shown(str(text)))
