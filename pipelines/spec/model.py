"""What a pipeline file says, as frozen models. No I/O: see :mod:`.load` for reading a file."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    PrivateAttr,
    SkipValidation,
    StringConstraints,
    WithJsonSchema,
)

from ..errors import Problem
from ..operator import Operator
from ..secrets import scrubbed

OnFailure: TypeAlias = Literal["continue", "accept", "stop"]

#: Names of steps, models and variables: they become folder names and columns of reports.
NAME_PATTERN = r"^[a-z][a-z0-9_-]*$"
Name: TypeAlias = Annotated[str, StringConstraints(pattern=NAME_PATTERN, max_length=64)]

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def seconds_of(value: object) -> object:
    """``"15m"``, ``"2h"``, ``"1h30m"`` as seconds; other values are left to the type check."""
    if not isinstance(value, str):
        return value
    text = value.replace(" ", "")
    if not re.fullmatch(r"(\d+(\.\d+)?[smhd])+", text):
        raise ValueError(f"is not a duration: found {value!r}; write seconds, or '90s', '15m', '2h'")
    return sum(float(amount) * _UNITS[unit] for amount, unit in re.findall(r"([\d.]+)([smhd])", text))


class Frozen(BaseModel):
    """The base of everything here: immutable, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


Seconds: TypeAlias = Annotated[
    float,
    BeforeValidator(seconds_of),
    Field(gt=0, allow_inf_nan=False),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "exclusiveMinimum": 0},
                {"type": "string", "pattern": r"^(\d+(\.\d+)?[smhd] ?)+$"},
            ]
        }
    ),
]


class Budget(Frozen):
    """What a run may spend. It stops cleanly when any part is spent, and can be resumed."""

    tokens: int | None = Field(None, gt=0, description="Prompt and completion tokens, over the whole run.")
    rows: int | None = Field(None, gt=0, description="Rows that all steps together may make.")
    time: Seconds | None = Field(
        None, description="Seconds of work, or '90s', '15m', '2h'. Time between sessions does not count."
    )


class WeightsModel(Frozen):
    """What the models that are loaded from disk share. ``options`` are the engine's own settings."""

    path: str = Field(min_length=1, description="A catalogue name, a Hugging Face id, or a folder.")
    adapter: str | None = Field(None, description="A folder in PEFT's layout, served over the base.")
    options: dict[str, Any] = Field(default_factory=dict)
    sampling: dict[str, Any] = Field(
        default_factory=dict,
        description="How it is asked where a step does not say otherwise: temperature, max_tokens, ...",
    )


class VllmModel(WeightsModel):
    """Served by vLLM inside this process."""

    engine: Literal["vllm"] = "vllm"


class TransformersModel(WeightsModel):
    """Served by transformers' generate: slower, and runs everywhere."""

    engine: Literal["transformers"]


class OpenAIModel(Frozen):
    """Served by any server that speaks the OpenAI protocol. ``options`` name its address and model."""

    engine: Literal["openai"]
    options: dict[str, Any] = Field(default_factory=dict)
    sampling: dict[str, Any] = Field(
        default_factory=dict,
        description="How it is asked where a step does not say otherwise: temperature, max_tokens, ...",
    )


class SyntheticModel(Frozen):
    """A deterministic engine without weights, for tests and dry runs."""

    engine: Literal["synthetic"]
    options: dict[str, Any] = Field(default_factory=dict)
    sampling: dict[str, Any] = Field(
        default_factory=dict,
        description="How it is asked where a step does not say otherwise: temperature, max_tokens, ...",
    )


class EmbedderModel(Frozen):
    """Turns texts into vectors (sentence-transformers)."""

    engine: Literal["embedder"]
    path: str = Field(min_length=1, description="A catalogue name, a Hugging Face id, or a folder.")
    options: dict[str, Any] = Field(default_factory=dict)


ModelSpec: TypeAlias = VllmModel | TransformersModel | OpenAIModel | SyntheticModel | EmbedderModel

#: engine -> the model class that describes it.
MODEL_KINDS: dict[str, type[ModelSpec]] = {
    "vllm": VllmModel,
    "transformers": TransformersModel,
    "openai": OpenAIModel,
    "synthetic": SyntheticModel,
    "embedder": EmbedderModel,
}


class StepSpec(Frozen):
    """One step: its words in the file, and the operator they make.

    ``inputs``: the steps whose rows come in (``from``, or ``tasks`` for an evaluation). ``params``:
    the operator's parameters as given. ``seed``: fixes the step's draws across rounds; None lets
    every round draw anew. ``on_failure`` None means the file's own.
    """

    name: Name
    verb: str
    value: Any
    inputs: tuple[str, ...] = ()
    on_failure: OnFailure | None = None
    seed: int | None = None
    params: dict[str, Any] = Field(default_factory=dict)
    operator: SkipValidation[InstanceOf[Operator]]

    @property
    def label(self) -> str:
        """``"generate: respond"``; for a verb that takes a value, the verb alone."""
        named = isinstance(self.value, str) and type(self.operator).value_field is None
        return f"{self.verb}: {self.value}" if named else self.verb


class Loop(Frozen):
    """Rounds of the whole file. ``promote``: train step -> the model it may stand in for.

    ``when``: the condition on the round's metrics under which it does (see :mod:`.when`).
    """

    rounds: int = Field(1, ge=1, le=1000, description="How many times the steps run.")
    promote: dict[str, str] = Field(default_factory=dict, description="Train step: the model it replaces.")
    when: str | None = Field(None, description='Condition on metrics, such as "verdict.gain.ci_low > 0".')


Line: TypeAlias = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]


class About(Frozen):
    """What a file is for, in a line each: what ``gristmill recipes`` lists. Decides nothing of a run."""

    method: Line = Field(description="The method, and what it does.")
    paper: Line | None = Field(None, description="Authors, title, year, arXiv number.")
    inputs: Line = Field(description="What it needs: files, models, a packaged source.")
    outputs: Line = Field(description="What it makes, with the columns of its rows.")
    cost: Line = Field(description="Requests to a model a row, or time on a named machine.")


class PipelineSpec(Frozen):
    """A whole pipeline file, checked."""

    gristmill: Literal[1] = Field(description="Version of the format.")
    name: Name = Field(description="Names the pipeline in reports and on data cards.")
    about: About | None = Field(None, description="What the file is for.")
    seed: int = Field(0, ge=0, description="Every draw of the run derives from it.")
    budget: Budget = Field(default_factory=lambda: Budget.model_validate({}))
    models: dict[Name, ModelSpec] = Field(default_factory=dict)
    steps: dict[Name, StepSpec] = Field(default_factory=dict)
    loop: Loop = Field(default_factory=lambda: Loop.model_validate({}))
    on_failure: OnFailure = Field("continue", description="What a failed row does to the run.")
    metrics: tuple[Literal["mlflow", "trackio"], ...] = Field((), description="Trackers to log to.")
    out: str | None = Field(None, min_length=1, description="The run's directory (default: runs/NAME).")

    #: The file after variables and overrides, as plain values: what `spec.yaml` of a run holds.
    _document: dict[str, Any] = PrivateAttr(default_factory=dict)
    #: Where each step and model stands, as a mistake without a message: for errors that only planning can find.
    _places: dict[tuple[str, str], Problem] = PrivateAttr(default_factory=dict)

    @property
    def directory(self) -> Path:
        """Where a run lies that names no directory."""
        return Path(self.out).expanduser() if self.out else Path("runs") / self.name

    def resolved(self) -> str:
        """The file as YAML text with variables and overrides put in: loading it gives this again."""
        import yaml

        return yaml.safe_dump(self._document, sort_keys=False, allow_unicode=True, width=110)

    def recorded(self) -> str:
        """The same without secrets: what a run directory keeps."""
        import yaml

        return yaml.safe_dump(scrubbed(self._document), sort_keys=False, allow_unicode=True, width=110)

    def problem(self, path: tuple[str, str], message: str) -> Problem:
        """A mistake in a step or a model, ``("steps", name)``, at its place in the file."""
        place = self._places.get(path, Problem("", 1, 1, ".".join(path), ""))
        return replace(place, message=message)
