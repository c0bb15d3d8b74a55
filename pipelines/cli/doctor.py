"""``gristmill doctor``: what this machine offers, and what to do about what is missing."""

from __future__ import annotations

import argparse
import json

HELP = "say what this machine offers: cores, memory, GPUs, engines, sandbox, models"

MARKS = {"ok": "[green]ok     [/]", "missing": "[yellow]missing[/]"}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


def main(args: argparse.Namespace) -> int:
    from ..doctor import examine

    findings = examine()
    if args.json:
        print(json.dumps([finding.as_dict() for finding in findings], indent=2))
        return 0
    from rich.console import Console
    from rich.markup import escape

    console = Console(highlight=False)
    group = ""
    for finding in findings:
        if finding.group != group:
            group = finding.group
            console.print(f"[bold]{group}[/]")
        console.print(f"  {MARKS[finding.state]} {finding.what}: {escape(finding.found)}", soft_wrap=True)
        if finding.fix:
            console.print(f"          {escape(finding.fix)}", soft_wrap=True, style="dim")
    return 0
