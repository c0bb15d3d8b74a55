"""Writes a run's report: one HTML file with everything inline, without external resources."""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

from ...contracts.printable import shown
from ..store.run_directory import PAGE_COMMENT, RunDirectory
from ..store.seal import write_text
from . import sections
from .calibration import calibration_figures
from .distributions import length_figures, score_figures
from .embedding_map import embedding_map
from .gather import RoundData, gather
from .samples import kept_samples, rejected_samples

HERE = Path(__file__).parent
NAME = "report.html"


def build(run: RunDirectory) -> Path:
    """Write ``RUN/report.html`` from the current state of the run, and return its path.

    Raises StoreError if the run has no round yet, if a part is damaged, or if the file cannot be written.
    """
    path = run.path / NAME
    write_text(path, shown(render(run)), PAGE_COMMENT)
    return path


def render(run: RunDirectory) -> str:
    """The report as HTML. The template escapes every value of the run."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    data = gather(run)
    sections.check_readable(data)
    environment = Environment(loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined)
    environment.filters["drawn"] = Markup  # charts escape their input
    script = (HERE / "page.js").read_text(encoding="utf-8")
    page = environment.get_template("page.html")
    return page.render(
        run=data,
        style=Markup((HERE / "style.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_hash=b64encode(sha256(script.encode()).digest()).decode(),
        tiles=sections.tiles(data),
        verdict=sections.verdicts(data),
        training=sections.training(data),
        rounds=[_round(each) for each in reversed(data.rounds)],
        costs=sections.costs(data),
        engines=sections.engines(data),
        budget=sections.budget(data),
        provenance=sections.provenance(data),
        spec=sections.spec_text(data),
    )


def _round(data: RoundData) -> dict[str, Any]:
    """The sections of each round."""
    plane = embedding_map(data)
    return {
        "number": data.number,
        "funnel": sections.funnel(data),
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
