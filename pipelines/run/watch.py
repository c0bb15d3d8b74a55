"""Watches figures of a loop between rounds, such as the diversity of what it generates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...contracts.errors import GristmillError
from ...contracts.nearest import suggestion
from ..file.watch import WatchSpec


def alarms(watch: Mapping[str, WatchSpec], rounds: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What has changed by more than it may since the first round.

    ``rounds``: the metrics of each round so far (step -> its summary), the current one last. JSON-able:
    ``figure``, ``first``, ``now`` and ``told`` (a sentence). A figure that a round could not measure (None)
    raises no alarm. Raises GristmillError if there is no such figure, or if it is no number.
    """
    found = []
    for name, limit in watch.items():
        known = [figure(metrics, name) for metrics in rounds]
        first, now = next((value for value in known if value is not None), None), known[-1]
        if first is None or now is None:
            continue
        fell = limit.falls is not None and now < first - limit.falls * abs(first)
        rose = limit.rises is not None and now > first + limit.rises * abs(first)
        if fell or rose:
            change = f"{(now - first) / abs(first):+.0%}" if first else "from zero"
            told = f"{name} was {first:.4g} in the first round and is {now:.4g} now ({change})"
            found.append({"figure": name, "first": first, "now": now, "told": told})
    return found


def figure(metrics: Mapping[str, Any], name: str) -> float | None:
    """A number of a step's summary, by its dotted name ``STEP.part.part``.

    None if the step measured nothing this time. Raises GristmillError.
    """
    here: Any = metrics
    parts = name.split(".")
    for number, part in enumerate(parts):
        if not isinstance(here, Mapping) or part not in here:
            if number == 0:
                return None
            given = here if isinstance(here, Mapping) else ()
            raise GristmillError(
                f"`loop.watch` names {name!r}, but there is no {'.'.join(parts[: number + 1])}: "
                f"{suggestion(part, given)}"
            )
        here = here[part]
    if here is None or isinstance(here, (int, float)):
        return None if here is None or here != here else float(here)
    raise GristmillError(f"`loop.watch` names {name!r}, which is no number: name one of its parts")
