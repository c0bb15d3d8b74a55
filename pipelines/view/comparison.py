"""A table of several models that are compared with one, as text: for the summary and the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: Metrics that are shown as a loss: minus their value.
LOSSES = {"mean_logprob": "held-out loss"}


@dataclass(frozen=True, slots=True)
class ComparisonTable:
    """``title``: one line. ``heading`` and ``lines``: the cells of a table; the first column is text.
    ``steps``: the evaluations.
    """

    title: str
    heading: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    steps: tuple[str, ...]

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> ComparisonTable:
        """From a table of :func:`gristmill.pipelines.run.comparisons.comparisons`."""
        metric = str(found["metric"])
        sign = -1.0 if metric in LOSSES else 1.0
        items = found["choices"][0]["n"]
        return cls(
            f"choices compared on {items:,} rows of {found['tasks']} ({found['evaluation']})",
            ("choice", "rows", LOSSES.get(metric, metric), f"gain over {found['against']}"),
            tuple(
                (
                    str(line["choice"]),
                    "" if line["rows"] is None else f"{line['rows']:,}",
                    f"{sign * line['score']:.4f}",
                    _gain(line["gain"]),
                )
                for line in found["choices"]
            ),
            tuple(line["step"] for line in found["choices"] if line["step"] is not None),
        )


def _gain(gain: Mapping[str, Any] | None) -> str:
    if gain is None:
        return ""
    ends = f"[{gain['ci_low']:+.4f}, {gain['ci_high']:+.4f}]"
    return f"{gain['mean']:+.4f} {ends}"
