"""``gristmill doctor``: show what this machine offers, and how to get what is missing."""

from __future__ import annotations

import argparse
import json

COLORS = {"ok": "green", "missing": "yellow"}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


def main(args: argparse.Namespace) -> int:
    from ..doctor import examine

    findings = examine()
    if args.json:
        print(json.dumps([finding.as_dict() for finding in findings], indent=2))
        return 0
    from rich.text import Text

    from .printing import console, words

    out = console()
    group = ""
    for finding in findings:
        if finding.group != group:
            group = finding.group
            out.print(words(group, "bold"))
        mark = (f"{finding.state:<7}", COLORS[finding.state])
        out.print(Text.assemble("  ", mark, " ", words(f"{finding.what}: {finding.found}")), soft_wrap=True)
        if finding.fix:
            out.print(words(f"          {finding.fix}", "dim"), soft_wrap=True)
    return 0
