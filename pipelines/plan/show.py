"""Formats a plan as text: the tree of steps, what is reused, what is left to do and its estimated cost."""

from __future__ import annotations

from collections.abc import Sequence

from .difference import Difference
from .estimate import GIB, StepCost
from .nodes import Plan, PlannedStep

HEADINGS = ("step", "operator", "state", "rows", "tokens", "time", "memory")


def show(plan: Plan, costs: Sequence[StepCost], *, run: str | None) -> str:
    """The plan of a round as lines of text. ``run``: the run directory that it was compared with."""
    lines = [f"{plan.spec.name}: round {plan.round} of {plan.spec.loop.rounds}", *_models(plan), ""]
    drawn = tree(plan)
    by_name = {cost.step.name: cost for cost in costs}
    cells = [HEADINGS, *(_cells(edge, by_name[name]) for edge, name in drawn)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(HEADINGS))]
    for row in cells:
        text = [
            cell.ljust(width) if i < 3 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths))
        ]
        lines.append("  ".join(text).rstrip())
    return "\n".join([*lines, "", *_embeddings(costs), _total(costs), *_against(run)])


def _models(plan: Plan) -> list[str]:
    """One line per model, with the adapter of a promoted student."""
    return [
        f"  {name}: {model.told} ({model.engine})" + (f" + adapter {model.adapter}" if model.adapter else "")
        for name, model in plan.models.items()
    ]


def tree(plan: Plan) -> list[tuple[str, str]]:
    """(edges, step name) in printing order; a step is shown below the last step that it depends on."""
    place = {step.name: index for index, step in enumerate(plan.steps)}
    children: dict[str | None, list[PlannedStep]] = {}
    for step in plan.steps:
        above = max(step.depends, key=place.__getitem__) if step.depends else None
        children.setdefault(above, []).append(step)
    drawn: list[tuple[str, str]] = []
    # (step, edges before its name, edges before its children's)
    waiting = [(step, "", "") for step in reversed(children.get(None, []))]
    while waiting:
        step, edge, below = waiting.pop()
        drawn.append((edge, step.name))
        under = children.get(step.name, [])
        following = []
        for index, child in enumerate(under):
            last = index == len(under) - 1
            following.append((child, below + ("└ " if last else "├ "), below + ("  " if last else "│ ")))
        waiting.extend(reversed(following))
    return drawn


def _cells(edge: str, cost: StepCost) -> tuple[str, ...]:
    state = cost.state
    if state == "partly done":
        state = f"to run ({cost.parts} {'part' if cost.parts == 1 else 'parts'} done)"
    reused = cost.state == "reused"
    return (
        edge + cost.step.name,
        cost.step.label + (f" ({', '.join(cost.step.models)})" if cost.step.models else ""),
        state,
        f"{cost.rows:,}",
        "-" if not cost.tokens else count(cost.tokens),
        "-" if reused else duration(cost.seconds),
        "-" if reused else memory(cost.memory),
    )


def _total(costs: Sequence[StepCost]) -> str:
    todo = [cost for cost in costs if cost.state != "reused"]
    if not todo:
        return f"nothing to run: all {len(costs)} steps are done"
    known = [cost.memory for cost in todo if cost.memory is not None]
    peak = f", at most about {memory(max(known))} of memory" if known else ""
    return (
        f"{len(todo)} to run, {len(costs) - len(todo)} reused; about "
        f"{count(sum(c.tokens for c in todo))} tokens "
        f"and {duration(sum(c.seconds for c in todo))}{peak}"
    )


def _embeddings(costs: Sequence[StepCost]) -> list[str]:
    """The assumptions about embedding, one line per step that embeds texts."""
    return [
        f"{cost.step.name} embeds about {count(each.texts)} texts at {each.speed:,.0f} texts/s "
        + ("(measured in this run directory)" if each.measured else "(assumed: nothing was measured yet)")
        for cost in costs
        if (each := cost.embedding) is not None and each.texts
    ]


def _against(run: str | None) -> list[str]:
    return [f"held against {run}"] if run else ["no run directory yet: nothing can be reused"]


def show_difference(differences: Sequence[Difference], run: str) -> str:
    """Why each step differs from an earlier run, one line per reason."""
    if not differences:
        return f"no step differs from {run}"
    width = max(len(each.step) for each in differences)
    lines = [f"differs from {run}:"]
    for each in differences:
        for index, reason in enumerate(each.reasons):
            lines.append(f"  {each.step if index == 0 else '':<{width}}  {reason}")
    return "\n".join(lines)


def count(number: int) -> str:
    """``1,234``, ``56.8k``, ``1.2M``."""
    if number < 10_000:
        return f"{number:,}"
    return f"{number / 1e3:.1f}k" if number < 1e6 else f"{number / 1e6:.1f}M"


def duration(seconds: float) -> str:
    """``<1 s``, ``42 s``, ``7 min``, ``3 h 20 min``."""
    if seconds < 1:
        return "<1 s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def memory(size: int | None) -> str:
    """``1.2 GiB``; a question mark if it is unknown."""
    return "?" if size is None else f"{size / GIB:.1f} GiB"
