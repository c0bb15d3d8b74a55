"""The pipeline of an evaluation: a step for each model on each task file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ....contracts.errors import GristmillError
from ...store.run_directory import RunDirectory
from .families import Family, family_of
from .logged import is_log, tasks_in


@dataclass(frozen=True)
class Tasks:
    """A file of tasks. ``name``: that of its step. ``rows``: the tasks, if the file is a log with others."""

    name: str
    path: str
    family: Family
    rows: tuple[Mapping[str, Any], ...] = ()


def tasks_of(given: Sequence[str]) -> list[Tasks]:
    """The task files, as ``FILE`` or ``NAME=FILE``. Raises GristmillError for a file that cannot be used."""
    found: dict[str, Tasks] = {}
    for each in given:
        name, _, path = each.rpartition("=")
        own = _name(name or Path(path).stem)
        if own in found:
            raise GristmillError(f"two task files are called {own!r}: name one of them, as in other={path}")
        found[own] = _tasks(own, path)
    return list(found.values())


def _tasks(name: str, path: str) -> Tasks:
    first = next(_rows(path), None)
    if first is None or not is_log(first):
        return Tasks(name, path, family_of(_rows(path), path))
    every = list(_rows(path))
    for number, row in enumerate(every, 1):
        if not is_log(row):
            raise GristmillError(
                f"{path}: row {number} is no row of a log of lm-eval (doc_id, doc, arguments)"
            )
    tasks = tuple(tasks_in(every, path))
    return Tasks(name, path, family_of(tasks, f"{path} (`doc` of a log of lm-eval)"), tasks)


def document(
    models: Sequence[str],
    tasks: Sequence[Tasks],
    *,
    engine: str = "vllm",
    limit: int | None = None,
    max_tokens: int | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """The pipeline file. ``limit``: at most so many items of each file, drawn by the seed.

    Raises GristmillError if a file has the name of a step that is made for another.
    """
    steps: dict[str, Any] = {}

    def add(name: str, step: dict[str, Any], of: Tasks) -> str:
        if name in steps:
            raise GristmillError(
                f"two steps would be called {name!r}, one of them for {of.path}: name that file, as in "
                f"other={of.path}"
            )
        steps[name] = step
        return name

    for each in tasks:
        items = add(each.name, {"source": "jsonl", "path": str(Path(each.path).absolute())}, each)
        if limit is not None:
            drawn = {"select": "random", "rows": limit, "seed": seed, "from": items}
            items = add(f"{each.name}_drawn", drawn, each)
        if each.family.compute:
            computed = {"compute": dict(each.family.compute), "from": items}
            items = add(f"{each.name}_items", computed, each)
        tokens = (
            {} if each.family.max_tokens is None else {"max_tokens": max_tokens or each.family.max_tokens}
        )
        for number in range(len(models)):
            evaluation = {
                **each.family.evaluate,
                **tokens,
                "tasks": items,
                "model": _model_name(number),
                "seed": seed,
                # Items that fail are counted by the comparison.
                "on_failure": "accept",
            }
            add(step_of(each, number), evaluation, each)
    served = {_model_name(number): model_of(model, engine) for number, model in enumerate(models)}
    return {"gristmill": 1, "name": "eval", "models": served, "steps": steps}


def step_of(tasks: Tasks, model: int) -> str:
    """The evaluation of a model, by its number."""
    return f"{tasks.name}_{_model_name(model)}"


def model_of(given: str, engine: str) -> dict[str, Any]:
    """The entry under ``models:`` for what a user gave.

    A packaged name, a Hugging Face id, a directory of weights or of an adapter; ``RUN:STEP`` or
    ``RUN:STEP@ROUND``, the student of a run; ``URL#MODEL``, a model behind a server. Raises GristmillError.
    """
    if given.startswith(("http://", "https://")):
        url, _, name = given.partition("#")
        if not name:
            raise GristmillError(f"{given}: add the model's name there, as in {given}#NAME")
        return {"engine": "openai", "url": url, "model": name}
    run, _, step = given.rpartition(":")
    path = _student(run, step) if run and (Path(run) / "run.json").exists() else given
    return {"engine": engine, "path": path}


def _student(run: str, step: str) -> str:
    """The directory of what a train step of a run made, in its last round or in that of ``STEP@ROUND``.

    The name of a step in a repeated block is that of its last turn.
    """
    name, _, number = step.partition("@")
    directory = RunDirectory.open(run)
    trained: set[str] = set()
    for each in reversed(directory.rounds()):
        if number not in ("", str(each.number)):
            continue
        stores = {
            planned: directory.step(planned, of["fingerprint"]) for planned, of in each.plan["steps"].items()
        }
        turns = [planned for planned in stores if re.fullmatch(rf"{re.escape(name)}_\d+", planned)]
        store = stores.get(name) or stores.get(turns[-1] if turns else "")
        if store is not None and store.complete and store.model.exists():
            return str(store.model.absolute())
        trained |= {planned for planned, made in stores.items() if made.complete and made.model.exists()}
    raise GristmillError(
        f"{run} has no finished training {step!r}; it has: {', '.join(sorted(trained)) or 'none'}"
    )


def _rows(path: str) -> Iterator[Mapping[str, Any]]:
    """The rows of a JSON Lines file. Raises GristmillError."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise GristmillError(f"{path}, line {number}: a task is a JSON object")
                yield row
    except OSError as error:
        raise GristmillError(f"{path} cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise GristmillError(f"{path} is not JSON Lines: {error}") from None


def _name(text: str) -> str:
    """A step's name from that of a file."""
    plain = re.sub(r"[^a-z0-9_]+", "_", text.lower()).strip("_")
    return f"tasks_{plain}"[:40] if not plain[:1].isalpha() else plain[:40]


def _model_name(number: int) -> str:
    return f"model_{number + 1}"
