"""The content of the report, section by section, as plain values for the page's template."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from ...contracts.errors import StoreError
from ...contracts.secrets import scrubbed
from ..view.comparison import ComparisonTable
from ..view.gate import gate_lines, whole_loop
from ..view.intervals import Interval, intervals
from ..view.summary import duration
from . import charts
from .gather import RoundData, RunData, Step
from .names import in_words

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray


def tiles(run: RunData) -> list[tuple[str, str]]:
    """The figures at the top: (label, value)."""
    steps = [step for _, step in run.distinct()]
    tokens = sum(step.usage.completion_tokens for step in steps)
    last = run.last
    outcome = last.data if last else None
    found = [
        (
            "rows generated",
            f"{sum(part.generated for step in steps for part in step.store.parts()):,}",
        )
    ]
    if outcome is not None:
        found.append((f"rows in {outcome.name}", f"{outcome.ledger.kept:,}"))
    found.append(("tokens generated", f"{tokens:,}"))
    found.append(("time", duration(run.directory.seconds())))
    gains = list(_gains(last)) if last else []
    found.extend((in_words(each.name), f"{each.mean:+.3f}") for each in gains[:1])
    return found


def funnel(data: RoundData, browsed: Collection[str] = ()) -> list[dict[str, Any]]:
    """One row per step: its bar, its counts, and the rows that its rules filtered.

    ``browsed``: the folders of the steps that the row browser has.
    """
    largest = max((step.ledger.made for step in data.steps), default=0)
    rows = []
    for step in data.steps:
        ledger = step.ledger
        counts = {"kept": ledger.kept, "filtered": ledger.filtered, "failed": ledger.failed}
        rows.append(
            {
                "name": step.name,
                "key": step.store.path.name,
                "browsed": step.store.path.name in browsed,
                "label": step.label,
                "from": ", ".join(step.inputs),
                "state": _state(data, step),
                "bar": charts.funnel_bar(counts, largest),
                "rows_in": ledger.rows_in,
                "counts": counts,
                "reasons": [
                    (fate, why, count)
                    for fate, each in step.reasons.items()
                    for why, count in each.most_common(6)
                ],
                "complete": step.complete,
            }
        )
    return rows


def _state(data: RoundData, step: Step) -> str:
    """How far a step is that is not finished."""
    if step.complete:
        return ""
    if not step.ledger.made:
        return "(not started)"
    inputs = [found for name in step.inputs if (found := data.step(name))]
    if not inputs or not all(each.complete for each in inputs):
        return "(not finished)"
    return f"(not finished), {step.ledger.rows_in:,} of {sum(each.ledger.kept for each in inputs):,} rows"


def verdicts(run: RunData) -> dict[str, Any]:
    """The paired tests of every round, as a chart and as tables."""
    gains: list[Interval] = []
    scores: list[Interval] = []
    rows: list[dict[str, Any]] = []
    for data in run.rounds:
        measured = list(_measured(data))
        for each in measured:
            named = Interval(_measure(run, data, each), each.mean, each.low, each.high)
            (gains if each.difference else scores).append(named)
            rows.append(
                {
                    "round": data.number,
                    "name": in_words(each.name),
                    "before": each.before,
                    "after": each.after,
                    "interval": str(each),
                }
            )
    return {
        "gains": _whiskers("Gain with its interval, by round", gains),
        "scores": _whiskers("Scores with their intervals, by round", scores),
        "rows": rows,
        "browsed": [
            (step.store.path.name, f"{step.name}, round {data.number}" if len(run.rounds) > 1 else step.name)
            for data in reversed(run.rounds)
            for step in data.of("evaluate")
            if step.ledger.made
        ],
        "comparisons": [
            (data.number, ComparisonTable.of(each))
            for data in run.rounds
            for each in (data.result or {}).get("comparisons", [])
        ],
        "decisions": [
            (
                data.number,
                (data.result or {}).get("decision", "not decided yet"),
                (data.result or {}).get("when"),
                (data.result or {}).get("why"),
            )
            for data in run.rounds
        ],
        **_of_loop(run),
    }


def _whiskers(title: str, rows: Sequence[Interval]) -> str:
    return charts.for_screens(partial(charts.whiskers, title, rows)) if rows else ""


def _of_loop(run: RunData) -> dict[str, Any]:
    """The findings of each round's gate, the alarms, and what the whole loop gained."""
    over = [(data.number, data.result) for data in run.rounds if data.result]
    gates = [(number, result, result.get("gate")) for number, result in over]
    promoted = sum(result["decision"] == "promoted" for _, result in over)
    since = over[-1][1].get("since_start", []) if over else []
    return {
        "gates": [
            (number, f"{result['decision']}, {result['why']}", "\n".join(gate_lines(gate)))
            for number, result, gate in gates
            if gate
        ],
        "alarms": [(number, each["told"]) for number, result in over for each in result.get("alarms", [])],
        "unchecked": [(number, each) for number, result in over for each in result.get("unchecked", [])],
        "whole_loop": list(whole_loop(since, promoted, len(over))),
    }


def _measure(run: RunData, data: RoundData, measured: Interval) -> str:
    """The name of a measure in the charts of all rounds."""
    return f"round {data.number}: {measured.name}" if len(run.rounds) > 1 else measured.name


def training(run: RunData) -> list[dict[str, Any]]:
    """The losses and the other metrics of every train step of every round."""
    found = []
    for data in run.rounds:
        for step in data.of("train"):
            history = step.store.read_history(["step", "loss", "held_out_loss"])
            if history is not None:
                title = f"{step.name}, round {data.number}"
                losses = (_vector(history, "step"), _vector(history, "loss"))
                beside = ("held out", _held_out(step, history))
                found.append(
                    {
                        "title": title,
                        "svg": _curve(f"Loss of {title}", losses, beside),
                        "held_out": "held_out_loss" in step.summary,
                        "figures": list(flat(step.summary)),
                    }
                )
    return found


def _curve(title: str, losses: charts.Points, beside: tuple[str, charts.Points]) -> str:
    return charts.for_screens(lambda width: charts.curve(title, losses, "optimizer step", beside, width))


def _held_out(step: Step, history: pa.Table) -> charts.Points:
    """The held-out losses that were measured before some steps of a training, and after its last one."""
    import numpy as np

    if "held_out_loss" not in history.column_names:  # it is trained by another package
        return np.zeros(0), np.zeros(0)
    steps, losses = _vector(history, "step"), _vector(history, "held_out_loss")
    last = step.summary.get("held_out_loss")
    if last is None or step.plan["request"]["params"].get("keep_best"):  # then it is the lowest, not the last
        return steps, losses
    return np.append(steps, len(steps)), np.append(losses, last)


def _vector(history: pa.Table, name: str) -> NDArray[np.float64]:
    values: NDArray[np.float64] = history[name].to_numpy().astype("float64")
    return values


def costs(run: RunData) -> list[dict[str, Any]]:
    """Tokens, requests and time of every step that used any; shared steps once."""
    return [
        {
            "round": number,
            "name": step.name,
            "fingerprint": step.plan["fingerprint"][:12],
            "usage": step.usage,
            "tokens_per_second": step.usage.completion_tokens / step.seconds if step.seconds else 0.0,
            "time": duration(step.seconds) if step.complete else "not finished",
        }
        for number, step in run.distinct()
    ]


def engines(run: RunData) -> list[dict[str, Any]]:
    """The occupancy of each model's engine in each stage that used it; shared steps once."""
    return [
        {"round": number, **figures}
        for number, step in run.distinct()
        for figures in step.manifest.get("engines", [])
    ]


def budget(run: RunData) -> list[tuple[str, str, str]]:
    """(label, used, limit) for tokens, generated rows, dollars and time, over all sessions."""
    import yaml

    try:
        document = yaml.safe_load(run.directory.spec()) or {}
    except yaml.YAMLError:
        document = {}
    limits = document.get("budget") or {}
    usage, rows = run.directory.spent()
    spent = {"tokens": f"{usage.tokens:,}", "rows": f"{rows:,}"}
    if usage.usd or "usd" in limits:
        spent["usd"] = f"${usage.usd:,.2f}"
    spent["time"] = duration(run.directory.seconds())

    def limit(name: str) -> str:
        value = limits.get(name)
        if value is None:
            return "no limit"
        if isinstance(value, (int, float)):
            return duration(value) if name == "time" else f"{value:,}"
        return str(value)

    return [(name, used, limit(name)) for name, used in spent.items()]


def failures(data: RoundData) -> list[tuple[str, str, int]]:
    """(step, error, rows), the most frequent first."""
    found = [
        (step.name, error, rows) for step in data.steps for error, rows in step.reasons["failed"].items()
    ]
    return sorted(found, key=lambda each: -each[2])


def provenance(run: RunData) -> list[dict[str, Any]]:
    """For each round: versions, models with digests, and every step's fingerprint and parameters."""
    return [
        {
            "number": data.number,
            "versions": dict(data.plan.get("versions") or {}),
            "models": {name: scrubbed(model) for name, model in (data.plan.get("models") or {}).items()},
            "steps": [_identity(step) for step in data.steps],
        }
        for data in run.rounds
    ]


def spec_text(run: RunData) -> str:
    """The pipeline file as run, with keys hidden."""
    import yaml

    try:
        document = yaml.safe_load(run.directory.spec())
    except yaml.YAMLError:
        return ""
    return yaml.safe_dump(scrubbed(document), sort_keys=False, allow_unicode=True, width=100)


def flat(summary: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """(name in words, value) for every number and short text in a summary."""
    for name, value in summary.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{name}.")
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            yield in_words(f"{prefix}{name}"), f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
        elif isinstance(value, bool):
            yield in_words(f"{prefix}{name}"), "yes" if value else "no"
        elif isinstance(value, str):
            yield in_words(f"{prefix}{name}"), value[:120]


def check_readable(run: RunData) -> None:
    """Raise StoreError if the run has no round to report on yet."""
    if not run.rounds:
        raise StoreError(f"{run.directory.path} has no round yet: run the pipeline, then ask for the report")


def _identity(step: Step) -> dict[str, Any]:
    plan, request = step.plan, step.plan["request"]
    return {
        "name": step.name,
        "label": step.label,
        "version": request["version"],
        "fingerprint": plan["fingerprint"],
        "content": request["content"],
        "params": _settings({**plan["models"], **plan["reads"], **request["params"]}),
    }


def _settings(params: Mapping[str, Any]) -> str:
    """Parameters as in a pipeline file, without those that say nothing."""
    import yaml

    told = {
        name or "model": value[0] if isinstance(value, list) and len(value) == 1 else value
        for name, value in scrubbed(params).items()
        if value not in (None, [], {}, "")
    }
    return yaml.safe_dump(told, sort_keys=False, allow_unicode=True, width=60).strip() if told else ""


def _measured(data: RoundData) -> Iterator[Interval]:
    for step in data.of("evaluate"):
        yield from intervals({step.name: step.summary})


def _gains(data: RoundData) -> Iterator[Interval]:
    return (each for each in _measured(data) if each.difference)
