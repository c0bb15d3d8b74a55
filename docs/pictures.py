"""Make the pictures in README.md: the live view of a run, and its report.

    python docs/pictures.py RUN

RUN is the run directory of a finished ``make quickstart``; its report is photographed (Chromium is needed).
The live view is drawn while the first half of the same job runs anew, in a folder that is removed afterwards.
"""

from __future__ import annotations

import contextlib
import io
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

import gristmill
from gristmill.pipelines.run.events import Event
from gristmill.pipelines.view.live import draw
from gristmill.pipelines.view.state import RunView, fold

PICTURES = Path(__file__).parent / "pictures"
#: The step whose middle is drawn.
DRAWN = "answers"


class Photographer:
    """An observer that keeps the live view as SVG, at the middle of one step."""

    def __init__(self) -> None:
        self.view = RunView()
        self.svg: str | None = None

    def on(self, event: Event) -> None:
        self.view = fold(self.view, event)
        step = next((step for step in self.view.steps if step.name == DRAWN), None)
        if self.svg is None and step is not None and (step.fraction() or 0) >= 0.5:
            console = Console(record=True, width=116, file=io.StringIO())
            console.print(draw(self.view, time.time()))
            # Without its links to fonts on the web.
            self.svg = re.sub(
                r"@font-face\s*{[^}]*}", "", console.export_svg(title="gristmill run quickstart")
            )


def live_view() -> str:
    photographer = Photographer()
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        gristmill.run("quickstart", observer=photographer, until=DRAWN)
    if photographer.svg is None:
        raise RuntimeError(f"the step {DRAWN!r} was over before it could be drawn")
    return photographer.svg


def report(run: Path, picture: Path) -> None:
    browser = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
    if browser is None:
        raise SystemExit("there is no Chromium on this machine: install it (apt-get install chromium)")
    page = (run / "report.html").resolve().as_uri()
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1200,1500"]
    subprocess.run([browser, *flags, f"--screenshot={picture.resolve()}", page], check=True)


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit("usage: python docs/pictures.py RUN")
    PICTURES.mkdir(exist_ok=True)
    report(Path(sys.argv[1]), PICTURES / "report.png")
    (PICTURES / "live.svg").write_text(live_view(), encoding="utf-8")


if __name__ == "__main__":
    main()
