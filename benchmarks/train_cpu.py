"""Fine-tuning on a CPU, ours against TRL + PEFT: the same model, rows, tokens and adapter.

    make benchmarks/.peers/.installed && .venv/bin/python benchmarks/train_cpu.py [--quick] [--rounds 3]

SmolLM2-135M-Instruct, LoRA r=16 on all linear layers, 4 rows of at most 512 tokens per step, in bf16 and on
an NF4 base (for the peer through bitsandbytes). The peer also packs its rows (``packing: true``) into
sequences of 1,024 tokens, one per step. Runs alternate, each in a fresh process. A process's first two steps
are not timed. tokens/s: all tokens of the rows, without padding; trained tokens/s: those with a label. Peak
memory is that of the whole process, including imports. The rows are functions of the standard library:
docstring -> source.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import json
import os
import sys
import tempfile
from pathlib import Path

from measuring import Figure, median, peers_python, run_case, this_python, versions, write

HERE = Path(__file__).parent
#: Whose functions are the rows.
MODULES = ("argparse", "ast", "calendar", "collections", "csv", "difflib", "doctest", "email.message",
           "fractions", "heapq", "inspect", "ipaddress", "logging", "mailbox", "pathlib", "pprint", "random",
           "shutil", "statistics", "string", "tarfile", "tempfile", "textwrap", "turtle", "unittest.mock",
           "urllib.parse", "zipfile")  # fmt: skip
BASES = ("bf16", "nf4")
PACKED = "TRL + PEFT, packed"
PEERS = ("TRL + PEFT", PACKED)
#: Steps of four rows: two to warm up, the others timed.
WARM_UP, TIMED = 2, 6


def write_rows(path: Path, count: int) -> None:
    """Write ``count`` rows of prompt and completion, which depend only on the version of Python."""
    rows = []
    for name in MODULES:
        source = inspect.getsource(__import__(name, fromlist=["_"]))
        for node in ast.walk(ast.parse(source)):
            if not isinstance(node, ast.FunctionDef) or not (said := ast.get_docstring(node)):
                continue
            code = ast.get_source_segment(source, node) or ""
            # At most 512 tokens including the template, so that no side truncates or drops a row.
            if len(code) >= 300 and len(code) + len(said) <= 1300:
                rows.append(
                    {"prompt": f"Write the Python function {node.name}.\n\n{said}", "completion": code}
                )
    if len(rows) < count:
        raise RuntimeError(f"{len(rows)} functions with a docstring here; {count} are required")
    spread = rows[:: len(rows) // count][:count]
    path.write_text("".join(json.dumps(row) + "\n" for row in spread))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one run each, fewer steps")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each")
    given = parser.parse_args()
    quick = given.quick
    from gristmill.pipelines.weights import resolve

    model = str(resolve("smollm2-135m-instruct").path)
    steps = WARM_UP + (2 if quick else TIMED)
    commands = {
        "ours": this_python(str(HERE / "train_cpu_ours.py")),
        **{peer: [str(peers_python()), "-P", str(HERE / "train_cpu_trl.py")] for peer in PEERS},
    }
    runs: dict[str, list[dict[str, float]]] = {f"{who} {base}": [] for base in BASES for who in commands}
    packages: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows.jsonl"
        write_rows(rows, 4 * steps)
        for _ in range(1 if quick else given.rounds):
            for base in BASES:
                for who, command in commands.items():
                    options = ["--packed"] if who == PACKED else []
                    case = run_case([*command, base, model, str(rows), str(WARM_UP), *options], timeout=1200)
                    packages |= case.answer.pop("versions", {})
                    found = {**case.answer, "peak_mib": case.peak_mib, "total_s": case.seconds}
                    runs[f"{who} {base}"].append(found)
                    print(
                        f"{who} {base}: " + ", ".join(f"{k} {v:,.1f}" for k, v in found.items()), flush=True
                    )
    figures = [
        figure
        for base in BASES
        for peer in PEERS
        for figure in compare(base, peer, runs, packages.get("trl", ""))
    ]
    write(
        "train_cpu",
        figures,
        {**versions("torch"), **packages},
        {"runs": runs, "quick": quick, "load": os.getloadavg()},
    )


def compare(base: str, peer: str, runs: dict[str, list[dict[str, float]]], version: str) -> list[Figure]:
    """Compare the medians of both sides for one kind of base."""
    ours, theirs = runs[f"ours {base}"], runs[f"{peer} {base}"]

    def of(side: list[dict[str, float]], name: str) -> float:
        return median([run[name] for run in side])

    def faster(name: str) -> Figure:
        mine, other = of(ours, name), of(theirs, name)
        return Figure(
            f"LoRA on {base}, {name.replace('_', ' ')}", "1/s", mine, other, peer, version,
            mine / other, ">= 3.2" if peer == PACKED else ">= 2"
        )  # fmt: skip

    mine, other = of(ours, "peak_mib"), of(theirs, "peak_mib")
    memory = Figure(
        f"LoRA on {base}, peak memory", "MiB", mine, other, peer, version, other / mine, ">= 1.67 (0.6 x)"
    )
    return [faster("trained_tokens_per_s"), faster("tokens_per_s"), memory]


if __name__ == "__main__":
    sys.exit(main())
