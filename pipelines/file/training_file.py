"""A file with ``train:`` at the top level: a training, as a pipeline of two steps.

    train: sft                         gristmill: 1
    model: smollm2-135m-instruct       models: {base: {path: smollm2-135m-instruct}}
    data: rows.jsonl              ->   steps:
    epochs: 2                            data: {source: jsonl, path: rows.jsonl}
                                         student: {train: sft, from: data, model: base, epochs: 2}

Its keys are the step's parameters. A parameter that names a model takes the same values as the ``path`` of a
model. A parameter that names a step takes the same values as ``data``: a path, glob, URL or id on the Hub, a
list of paths, or a source as a mapping. With ``mix``, the weights of several sources, ``data`` is a list of
them, and each is a step of its own (``data_1``, ``data_2``, …). Mistakes keep their places and the names of
their fields.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

from ...contracts import registry
from ...contracts.errors import GristmillError
from ...contracts.nearest import brief, unknown_key
from ...contracts.operators import Operator
from ...contracts.training import Train
from .document import Document, Path, SourcePosition

DATA, STUDENT, BASE = "data", "student", "base"
#: Keys with the same meaning as in a pipeline file.
HEADER = ("gristmill", "name", "about", "seed", "vars", "budget", "metrics", "out")
#: Other tools' keys of a training file -> the key here.
_OTHER_NAMES = dict.fromkeys(("dataset", "datasets", "dataset_name", "train_data"), "data: <rows.jsonl>")
_OTHER_NAMES |= dict.fromkeys(("output_dir", "save_dir"), "out: <runs/student>")
_OTHER_NAMES["report_to"] = "metrics: [<wandb|tensorboard|mlflow|trackio>]"
ROWS = "a path, a glob, a URL or the id of a data set on the Hub (or {source: ..., path: ...})"


def is_training(value: object) -> bool:
    """Is this document a training file?"""
    return isinstance(value, dict) and "train" in value and "steps" not in value


def expand(document: Document) -> None:
    """Turn a training file into its pipeline; any other document is left unchanged."""
    if is_training(document.value):
        _Expansion(document).apply()


@dataclass
class _Expansion:
    """Builds the pipeline. ``moves``: place in the file -> the places in the pipeline that it sets."""

    document: Document
    header: dict[str, Any] = field(default_factory=dict)
    models: dict[str, Any] = field(default_factory=dict)
    steps: dict[str, Any] = field(default_factory=dict)
    moves: dict[Path, list[Path]] = field(default_factory=dict)

    def apply(self) -> None:
        raw = self.document.value
        kind = _kind(raw["train"])
        references = dict(kind.reference_fields())
        student: dict[str, Any] = {"train": raw["train"], "from": DATA}
        self.moves[("train",)] = [("steps", STUDENT, "train"), ("steps", STUDENT)]
        for key, value in raw.items():
            if key in HEADER:
                self.header[key] = value
            elif key == DATA and raw.get("mix") is not None:
                student["from"] = self._sources(value)
            elif key == DATA:
                self._rows((key,), key, value)
            elif key != "train":
                self.moves[(key,)] = [("steps", STUDENT, key)]
                student[key] = value
                if value is not None and references.get(key) == "model":
                    student[key] = self._model(key, value)
                elif value is not None and references.get(key) == "step":
                    student[key] = key
                    self._rows((key,), key, value)
                elif key not in kind.model_fields and kind is not Train:
                    names = {*HEADER, DATA, *kind.model_fields}
                    said = unknown_key(key, names, {**_OTHER_NAMES, **kind.other_names}, value)
                    self.document.blame((key,), said, key=True)
        if DATA not in raw:
            self.document.blame(
                (DATA,), f"required, but missing: add `data:`, {ROWS}", at=("train",), key=True
            )
            self.document.silence(("steps", STUDENT, "from"))
        header = {"gristmill": 1, "name": _name(self.document.file), **self.header}
        models = {"models": self.models} if self.models else {}
        self.document.value = {**header, **models, "steps": {**self.steps, STUDENT: student}}
        self._move()

    def _model(self, key: str, value: Any) -> str:
        """Declare the model of a parameter; returns its name."""
        name = BASE if key == "model" else key
        self.models[name] = {"path": value} if isinstance(value, str) else value
        self.moves[(key,)].append(("models", name))
        if isinstance(value, str):
            self.moves[(key,)].append(("models", name, "path"))
        return name

    def _sources(self, value: Any) -> list[str]:
        """Declare each of several sources of rows; returns the names of their steps."""
        if not isinstance(value, list) or len(value) < 2:
            said = f"found {brief(value)}; with mix, give a list of two or more sources, each {ROWS}"
            self.document.blame((DATA,), said)
            self.document.silence(("steps", STUDENT, "from"))
            return [DATA]
        names = [f"{DATA}_{number}" for number in range(1, len(value) + 1)]
        for number, (name, rows) in enumerate(zip(names, value)):
            self._rows((DATA, number), name, rows)
        return names

    def _rows(self, place: Path, name: str, value: Any) -> None:
        """Declare the source of rows at ``place`` of the file as the step ``name``.

        Records a mistake if the path does not determine a source.
        """
        from ..sources.file_kinds import ENDINGS, source_of

        targets = self.moves.setdefault(place, [])
        targets.append(("steps", name))
        given = dict(value) if isinstance(value, dict) else {"path": value}
        if not isinstance(value, dict):
            targets.append(("steps", name, "path"))
        paths = given.get("path")
        first = paths[0] if isinstance(paths, list) and paths else paths
        if "source" not in given:
            source = source_of(first) if isinstance(first, str) else None
            if source is None:
                endings = ", ".join(ending for group in ENDINGS.values() for ending in group)
                said = f"found {brief(first)}; give {ROWS}; files end in {endings}"
                self.document.blame(place, said)
            given = {"source": source or "jsonl", **given}
        self.steps[name] = given

    def _move(self) -> None:
        """Map the places and the mistakes of the file to the pipeline."""
        document = self.document

        def moved(path: Path) -> list[Path]:
            for length in (2, 1):
                if targets := self.moves.get(path[:length]):
                    return [(*target, *path[length:]) for target in targets]
            return [path]

        def move(marks: dict[Path, SourcePosition]) -> dict[Path, SourcePosition]:
            return {place: mark for path, mark in marks.items() for place in moved(path)}

        document.keys, document.values = move(document.keys), move(document.values)
        document.reblame(moved)
        document.uses.move(moved)
        document.written = {target: place for place, targets in self.moves.items() for target in targets}
        document.written[("steps", STUDENT)] = ()


def _kind(value: Any) -> type[Operator]:
    """The operator that ``train:`` names; their base class if unknown, which is reported later."""
    try:
        return registry.find("train", value) or Train
    except (ImportError, AttributeError, GristmillError):
        return Train


def _name(file: str) -> str:
    """A name derived from that of the file."""
    stem = re.sub(r"[^a-z0-9_-]+", "-", FilePath(file).stem.lower()).lstrip("-_0123456789")
    return stem[:64] or "training"
