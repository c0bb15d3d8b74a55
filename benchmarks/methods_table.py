"""The table of ``methods.py``, from its runs."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np
from methods_settings import PLAIN

HEAD = (
    "method", "seeds", "score", "against LoRA", "task loss", "forgetting", "trained", "changed", "peak MiB",
    "planned MiB", "seconds",
)  # fmt: skip


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Return mean and half-width of Student's 95 % interval; nan for one value."""
    from scipy.stats import t

    if len(values) < 2:
        return statistics.fmean(values), float("nan")
    half = t.ppf(0.975, len(values) - 1) * statistics.stdev(values) / len(values) ** 0.5
    return statistics.fmean(values), float(half)


def against(ours: Sequence[Sequence[int]], theirs: Sequence[Sequence[int]]) -> tuple[float, float, float]:
    """Return the difference of two shares, and its paired bootstrap interval over seeds and items."""
    shares = [np.asarray(each, dtype=float) for each in (ours, theirs)]
    generator, drawn = np.random.default_rng(17), []
    for _ in range(4000):
        items = generator.integers(0, shares[0].shape[1], shares[0].shape[1])
        means = [each[generator.integers(0, len(each), len(each))][:, items].mean() for each in shares]
        drawn.append(means[0] - means[1])
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(shares[0].mean() - shares[1].mean()), float(low), float(high)


def shown(runs: Sequence[dict[str, Any]], base: dict[str, Any]) -> str:
    """Return the table, the best score first."""
    by_method: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        by_method.setdefault(run["method"], []).append(run)
    if PLAIN not in by_method:
        return "no table without LoRA"
    plain = [run["passed"] for run in by_method[PLAIN]]
    lines = [
        f"| {' | '.join(HEAD)} |",
        "|---" * len(HEAD) + "|",
        f"| base | | {statistics.fmean(base['passed']):.3f} | | {base['task_loss']:.3f} | | | | | | |",
    ]
    order = sorted(
        by_method, key=lambda name: -statistics.fmean(np.mean(r["passed"]) for r in by_method[name])
    )
    for name in order:
        found = by_method[name]
        gain, low, high = against([run["passed"] for run in found], plain)
        beside = "" if name == PLAIN else f"{gain:+.3f} [{low:+.3f}, {high:+.3f}]"
        if name != PLAIN and low <= 0:
            beside += ", worse" if high < 0 else ", not better"
        cells = [
            _with(interval(_scores(found))),
            beside,
            _with(interval([run["task_loss"] for run in found])),
            _with(interval([run["prose_loss"] - base["prose_loss"] for run in found]), sign=True),
            *(f"{max(run[key] for run in found):,}" for key in ("trainable_parameters", "changed")),
            _whole(interval([run["peak_memory_mib"] for run in found])),
            f"{max(run['predicted_memory_mib'] for run in found):,}",
            _whole(interval([run["seconds"] for run in found])),
        ]
        lines.append(f"| {name} | {len(found)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _scores(runs: Sequence[dict[str, Any]]) -> list[float]:
    return [statistics.fmean(run["passed"]) for run in runs]


def _with(value: tuple[float, float], *, sign: bool = False) -> str:
    mean, half = value
    told = f"{mean:+.3f}" if sign else f"{mean:.3f}"
    return told if half != half else f"{told} ± {half:.3f}"


def _whole(value: tuple[float, float]) -> str:
    mean, half = value
    return f"{mean:,.0f}" if half != half else f"{mean:,.0f} ± {half:,.0f}"
