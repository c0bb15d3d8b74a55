"""Evaluates models on task files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ....contracts.errors import DataError
from .paired import ModelScore, compared, score_of, with_marks
from .pipeline import Tasks, document, step_of, tasks_of

if TYPE_CHECKING:
    from ...run.budget import Stop
    from ...run.events import Observer


def evaluate(
    models: Sequence[str],
    tasks: Sequence[str],
    run: str | Path,
    *,
    observer: Observer | None = None,
    stop: Stop | None = None,
    **settings: Any,
) -> list[ModelScore]:
    """The score of every model on every task file, with its difference from the first model.

    ``models``: see :func:`.pipeline.model_of`. ``tasks``: files, each as ``FILE`` or ``NAME=FILE``. ``run``:
    the run directory; its pipeline file, and the tasks that a log holds, are written beside it.
    ``settings``: those of :func:`.pipeline.document`. Raises GristmillError.
    """
    import yaml

    from ... import api

    if len(set(models)) < len(models):
        raise DataError("a model is named twice: name each once")
    files = tasks_of(tasks)
    file = Path(f"{Path(run)}.yaml")  # also for a folder that is given with a slash at its end
    file.parent.mkdir(parents=True, exist_ok=True)
    files = [_with_file(each, f"{Path(run)}.{each.name}.jsonl") for each in files]
    content = document(models, files, **settings)
    file.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110))
    done = api.run(file, run, observer=observer, stop=stop)
    found = []
    for each in files:
        stores = [done[step_of(each, number)].store for number in range(len(models))]
        for number, model in enumerate(models):
            score = score_of(stores[number], each.name, each.family.name, each.family.score, model)
            found.append(compared(score, stores[number], stores[0]) if number else score)
    return with_marks(found)


def _with_file(tasks: Tasks, path: str) -> Tasks:
    """Tasks that a log holds, written to a file of their own; others as they are."""
    if not tasks.rows:
        return tasks
    lines = (json.dumps(row, ensure_ascii=False) for row in tasks.rows)
    Path(path).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return replace(tasks, path=path)
