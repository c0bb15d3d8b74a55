"""Writes a run's report: one HTML file with everything inline, without external resources."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

from ...contracts.printable import shown
from ..store.run_directory import PAGE_COMMENT, RunDirectory
from ..store.seal import write_text
from . import sections
from .browser.data import browser_data
from .browser.shape import figure
from .calibration import calibration_figures
from .compared import compared
from .distributions import length_figures, score_figures
from .embedding_map import embedding_map
from .ending import ending
from .gather import RoundData, gather
from .samples import kept_samples, rejected_samples

HERE = Path(__file__).parent
NAME = "report.html"
#: The page's script, in one element: its digest is in the content security policy.
SCRIPTS = ("map.js", "rows.js")


def build(run: RunDirectory, against: RunDirectory | None = None) -> Path:
    """Write ``RUN/report.html`` from the current state of the run, and return its path.

    ``against``: another run, to compare it with; the report is then ``RUN/report-against-NAME.html``, with
    the name of the other's folder. Raises StoreError if a run has no round yet, if a part is damaged, or if
    the file cannot be written.
    """
    path = run.path / NAME
    if against is not None:
        path = run.path / f"report-against-{against.path.resolve().name}.html"
    write_text(path, shown(render(run, against)), PAGE_COMMENT)
    return path


def render(run: RunDirectory, against: RunDirectory | None = None) -> str:
    """The report as HTML. The template escapes every value of the run."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    data = gather(run)
    sections.check_readable(data)
    beside = None if against is None else gather(against)
    if beside is not None:
        sections.check_readable(beside)
    comparison = None if beside is None else compared(data, beside)
    environment = Environment(loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined)
    environment.filters["drawn"] = Markup  # charts escape their input
    environment.filters["figure"] = figure
    script = "".join((HERE / name).read_text(encoding="utf-8") for name in SCRIPTS)
    page = environment.get_template("page.html")
    rows = browser_data(data)
    browsed = {step["key"] for step in rows["steps"]} if rows else set()
    rounds = [_round(each, browsed) for each in reversed(data.rounds)]
    return page.render(
        run=data,
        style=Markup((HERE / "style.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_hash=b64encode(sha256(script.encode()).digest()).decode(),
        ending=ending(data),
        compared=comparison,
        compared_json=_script_safe(comparison.rows) if comparison and comparison.rows else None,
        tiles=sections.tiles(data),
        verdict=sections.verdicts(data),
        training=sections.training(data),
        rounds=rounds,
        filled=_filled(rounds),
        browser_json=_script_safe(rows) if rows else None,
        costs=sections.costs(data),
        engines=sections.engines(data),
        budget=sections.budget(data),
        provenance=sections.provenance(data),
        spec=sections.spec_text(data),
    )


def _filled(rounds: Sequence[Mapping[str, Any]]) -> set[str]:
    """The sections that have something to show in some round."""
    shows = {
        "scores": ("scores", "calibration"),
        "lengths": ("lengths",),
        "map": ("map",),
        "samples": ("kept", "rejected", "browsed"),
        "failures": ("failures",),
    }
    return {
        section for section, names in shows.items() if any(each[name] for each in rounds for name in names)
    }


def _round(data: RoundData, browsed: Collection[str]) -> dict[str, Any]:
    """The sections of each round. ``browsed``: the folders of the steps that the row browser has."""
    plane = embedding_map(data)
    return {
        "number": data.number,
        "browsed": any(step.store.path.name in browsed for step in data.steps),
        "funnel": sections.funnel(data, browsed),
        "scores": score_figures(data),
        "calibration": calibration_figures(data),
        "lengths": length_figures(data),
        "map": plane,
        "map_json": _script_safe(asdict(plane)) if plane else None,
        "kept": kept_samples(data),
        "rejected": rejected_samples(data),
        "failures": sections.failures(data),
    }


def _script_safe(value: Any) -> Any:
    """JSON that cannot close its script element."""
    from markupsafe import Markup

    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))
