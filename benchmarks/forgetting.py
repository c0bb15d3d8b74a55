"""Learning and forgetting: LoRA, SeleKT, half and full fine-tuning on the same rows.

    python benchmarks/forgetting.py [--quick]

SmolLM2-135M-Instruct learns to write the bodies of functions of Python's standard library from their
signatures and docstrings, one pass over the same rows in the same order for each method. Measured in float32,
before and after: the mean token loss (nats) on functions that it was not trained on, and on English prose
(the descriptions of scikit-learn's data sets), which shows forgetting. Training and measuring run in separate
processes; peak memory is that of training.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import random
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from measuring import run_case, this_python, versions, write

from gristmill.datagen.sources.python_functions import functions, source_files

CASE = str(Path(__file__).with_name("forgetting_case.py"))
#: Timeout of a case in seconds, generous for shared machines.
LIMIT = 3600
MODULES = (
    "argparse", "calendar", "collections", "configparser", "csv", "email", "fractions", "gettext", "html",
    "http", "inspect", "ipaddress", "json", "logging", "mailbox", "pathlib", "plistlib", "random", "sched",
    "shutil", "statistics", "string", "tarfile", "tempfile", "textwrap", "tokenize", "turtle", "urllib",
    "wave", "zipfile",
)  # fmt: skip
#: Method -> settings of its training file, except the rows and the model.
METHODS = {
    "LoRA": {"adapter": {"kind": "lora", "rank": 16, "alpha": 32}, "learning_rate": 2e-3},
    "SeleKT": {
        "adapter": {"kind": "delta"},
        "sparse": {"kind": "selekt", "density": 0.05, "every": 8},
        "learning_rate": 5e-4,
    },
    "half": {"adapter": {"kind": "delta"}, "sparse": {"kind": "half"}, "learning_rate": 5e-4},
    "full": {"adapter": {"kind": "delta"}, "learning_rate": 5e-4},
}


def tasks() -> Iterator[dict[str, str]]:
    """Return short documented functions of the standard library: docstring, and body without it."""
    for module in MODULES:
        for name, file in source_files(module):
            for found in functions(file.read_bytes(), name):
                if found.docstring is None or found.lines > 30 or found.name.startswith("_"):
                    continue
                node = ast.parse(found.source).body[0]
                assert isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
                node.body = node.body[1:]
                if not node.body or len(found.docstring) > 400:
                    continue
                prompt = f"Write this Python function of `{name}`: {found.signature}\n\n{found.docstring}"
                yield {"prompt": prompt, "response": ast.unparse(node)}


def prose() -> str:
    """Return English text that is unrelated to the task and installed with Gristmill."""
    import importlib.util

    spec = importlib.util.find_spec("sklearn.datasets.descr")
    if spec is None or not spec.submodule_search_locations:
        sys.exit("scikit-learn's descriptions of its data sets are not installed")
    folder = Path(next(iter(spec.submodule_search_locations)))
    return "\n\n".join(file.read_text() for file in sorted(folder.glob("*.rst")))


def prepare(folder: Path, rows: int, held: int) -> None:
    found = sorted(tasks(), key=lambda row: row["prompt"])
    random.Random(17).shuffle(found)
    for name, part in (("held", found[:held]), ("rows", found[held : held + rows])):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    (folder / "prose.txt").write_text(prose())


def measured(folder: Path, windows: int, method: str) -> dict[str, Any]:
    """Train and measure one method; "base" is only measured."""
    told: dict[str, Any] = {"method": method}
    changes: list[str] = []
    if method != "base":
        settings = json.dumps(METHODS[method])
        trained = run_case(this_python(CASE, "train", str(folder), method.lower(), settings), LIMIT)
        told |= {**trained.answer, "peak_mib": round(trained.peak_mib), "total_s": round(trained.seconds, 1)}
        changes = [told.pop("student")]
    return told | run_case(this_python(CASE, "measure", str(folder), str(windows), *changes), LIMIT).answer


def check(told: dict[str, Any]) -> None:
    """Check the number of changed entries, which SeleKT determines exactly."""
    kept = int(METHODS["SeleKT"]["sparse"]["density"] * told["entries"])  # type: ignore[index, operator]
    if told["method"] == "SeleKT" and told["changed"] != kept:
        sys.exit(f"SeleKT changed {told['changed']:,} entries instead of {kept:,}")


def show(found: list[dict[str, Any]]) -> None:
    base = found[0]
    print(
        f"\n{'':<8} {'task loss':>9} {'prose loss':>10} {'forgotten':>9} {'changed entries':>24} "
        f"{'peak MiB':>9} {'seconds':>8}"
    )
    print(f"{'base':<8} {base['task_loss']:>9.4f} {base['prose_loss']:>10.4f}")
    for told in found[1:]:
        share = f"{told['changed']:,} ({told['changed'] / told['entries']:.1%})"
        print(
            f"{told['method']:<8} {told['task_loss']:>9.4f} {told['prose_loss']:>10.4f} "
            f"{told['prose_loss'] - base['prose_loss']:>+9.4f} {share:>24} {told['peak_mib']:>9,} "
            f"{told['seconds']:>8.1f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a minute's worth, for a look")
    args = parser.parse_args()
    rows, held, windows = (8, 4, 2) if args.quick else (48, 16, 6)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder, rows, held)
        found = []
        for method in ("base", *METHODS):
            found.append(measured(folder, windows, method))
            print(json.dumps(found[-1]))
            if method != "base":
                check(found[-1])
    show(found)
    more = {
        "rows": rows,
        "held_out": held,
        "quick": args.quick,
        "methods": found,
        "settings": METHODS,
        # Load at the end. Above the number of cores, the seconds are those of a busy machine.
        "load_average": round(os.getloadavg()[1], 1),
    }
    write("forgetting_quick" if args.quick else "forgetting", [], versions("torch", "scikit-learn"), more)


if __name__ == "__main__":
    main()
