"""The frozen models of a pipeline file. No I/O: see :mod:`.load` for reading a file."""

from __future__ import annotations

import re
from collections.abc import Container
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    BeforeValidator,
    Field,
    InstanceOf,
    PrivateAttr,
    SkipValidation,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)

from ...contracts.errors import SpecProblem
from ...contracts.frozen import Frozen
from ...contracts.operators import Operator
from ...contracts.secrets import scrubbed
from .gate import GateSpec
from .model_kinds import ModelSpec
from .sizes import Bytes
from .variable_uses import VariableUses
from .watch import WatchSpec

OnFailure: TypeAlias = Literal["continue", "accept", "stop"]

#: The pattern of names of steps, models and variables, which become folder names and columns of reports.
NAME_PATTERN = r"^[a-z][a-z0-9_-]*$"
#: Maximum number of turns of a repeated block.
MAX_TURNS = 100
Name: TypeAlias = Annotated[str, StringConstraints(pattern=NAME_PATTERN, max_length=64)]

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


#: Ends the name of a model as it was before the first round: ``base@0``.
BEFORE = "@0"


def first_of(name: str, models: Container[str]) -> str:
    """The model ``base`` behind ``base@0``; any other name as it is."""
    plain = name.removesuffix(BEFORE)
    return plain if plain in models else name


def seconds_of(value: object) -> object:
    """Convert ``"15m"``, ``"2h"``, ``"1h30m"`` to seconds; other values are left to the type check."""
    if not isinstance(value, str):
        return value
    text = value.replace(" ", "")
    if not re.fullmatch(r"(\d+(\.\d+)?[smhd])+", text):
        raise ValueError(f"is not a duration: found {value!r}; write seconds, or '90s', '15m', '2h'")
    return sum(float(amount) * _UNITS[unit] for amount, unit in re.findall(r"([\d.]+)([smhd])", text))


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
    """Limits of a run. It stops cleanly when any of them is reached, and can be resumed."""

    tokens: int | None = Field(None, gt=0)
    """Maximum number of prompt and completion tokens of all engine calls. By default there is no limit."""
    rows: int | None = Field(None, gt=0)
    """Maximum number of new rows that models make in all steps together. Rows that a model only rates or adds
    columns to do not count. By default there is no limit."""
    usd: float | None = Field(None, gt=0)
    """Maximum price of all engine calls in US dollars, by the `price` of each model behind a server. By
    default there is no limit."""
    time: Seconds | None = None
    """Maximum working time: seconds, or a text such as `90s`, `15m`, `2h` or `1h30m`. Time between sessions
    does not count. By default there is no limit."""


class StepSpec(Frozen):
    """One step: its keys in the file, and its operator."""

    name: Name
    """Its name in the file."""
    verb: str
    """Kind of step: `generate`, `verify`, `keep`, ..."""
    value: Any
    """The value of the verb: the operator's name, or a parameter."""
    inputs: tuple[str, ...] = ()
    """Input steps: its `from`, or the `tasks` of an evaluation."""
    on_failure: OnFailure | None = None
    """What failed rows do to the run; None means the file's own `on_failure`."""
    seed: int | None = None
    """Seed of the step in every round; None gives every round a new seed."""
    params: dict[str, Any] = Field(default_factory=dict)
    """The operator's parameters as given."""
    operator: SkipValidation[InstanceOf[Operator]]
    """The operator with these parameters."""

    @property
    def label(self) -> str:
        """``"generate: respond"``; for a verb whose value is a parameter, the verb alone."""
        named = isinstance(self.value, str) and type(self.operator).value_field is None
        return f"{self.verb}: {self.value}" if named else self.verb


class StepKeys(Frozen):
    """Keys that every step may have, besides its verb and the parameters of its operator."""

    inputs: str | Annotated[tuple[str, ...], Field(min_length=1)] = Field(alias="from")
    """Input step, or a list of steps whose rows are concatenated in order. A `source` has none, and an
    `evaluate` step has `tasks` instead."""
    on_failure: OnFailure | None = None
    """How the run handles failed rows of this step: `continue`, `accept` or `stop`. By default the file's
    `on_failure` applies."""
    seed: int | None = Field(None, ge=0)
    """Seed of the step in every round. By default it derives from the file's seed, the round and the step's
    name. Give held-out items a seed, so that every round is evaluated on the same items."""


class BlockKeys(Frozen):
    """Keys of a repeated block of steps, which may be used in place of a step.

    Each turn takes its input from the turn before: `previous.NAME` is a step of the previous turn. The steps
    of turn 2 are called `NAME_2`. Outside the block, `NAME` is the step of the last turn, and `NAME_*` are
    those of all turns.
    """

    repeat: int = Field(ge=1, le=MAX_TURNS)
    """Number of turns."""
    steps: dict[str, Any] = Field(min_length=1)
    """Steps of a turn, by name."""
    first: dict[str, Any] = Field(default_factory=dict)
    """Keys that differ in the first turn, by step. `null` leaves the step out of that turn."""
    last: dict[str, Any] = Field(default_factory=dict)
    """Keys that differ in the last turn, by step. `null` leaves the step out of that turn."""


class LoopSpec(Frozen):
    """Rounds of the whole file, and which student replaces which model in the next round."""

    rounds: int = Field(1, ge=1, le=1000)
    """Number of rounds. Random steps without their own seed get a new seed in each round."""
    promote: dict[str, str] = Field(default_factory=dict)
    """Models that students replace in later rounds, as `{TRAIN_STEP: MODEL}`. By default none are
    replaced."""
    pursue: dict[str, str] = Field(default_factory=dict)
    """Models that students of `promote` replace in later rounds also if the round abstained, as
    `{TRAIN_STEP: MODEL}`: training goes on from there, and is judged again. After a round that kept the
    teacher or was contaminated, they become the model that `promote` names. By default an abstention discards
    the student."""
    when: str | None = None
    """Condition on the round's metrics under which students are promoted, such as `verdict.gain.ci_low > 0`:
    comparisons of `STEP.metric.part` and numbers with `and`, `or`, `not` and parentheses. A dash in a
    step's name is written as `_`. A comparison with a metric that was not measured is false. `promote`
    requires it, or a `gate`."""
    gate: GateSpec | None = None
    """Evaluations that decide on a promotion in place of `when`: several of them, at one error rate, with as
    few items as it takes."""
    watch: dict[str, WatchSpec] = Field(default_factory=dict)
    """Figures of a step's summary whose change since the first round raises an alarm, as
    `{balance.after.diversity.distinct_2: {falls: 0.3}}` for a step `balance: {score: qdc, ...}`. An alarm is
    a warning: it is told and recorded, and decides nothing. By default nothing is watched."""

    @model_validator(mode="after")
    def _consistent(self) -> LoopSpec:
        if self.when is not None and self.gate is not None:
            raise ValueError("`when` and `gate` both decide on a promotion: give one of them")
        for student, model in self.pursue.items():
            if student not in self.promote:
                raise ValueError(f"`pursue` names {student!r}, which `promote` does not: name it in both")
            if model in self.promote.values():
                raise ValueError(
                    f"`pursue` and `promote` both name the model {model!r}: give `pursue` another model "
                    "with the same keys"
                )
        return self


Line: TypeAlias = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]


class About(Frozen):
    """The purpose of a file, one line per key, as listed by ``gristmill recipes``."""

    method: Line
    """The method and its effect."""
    paper: Line | None = None
    """Authors, title, year and arXiv number. Optional."""
    inputs: Line
    """What it needs: files, models, a packaged source."""
    outputs: Line
    """What it makes, with the columns of its rows."""
    cost: Line
    """Requests to a model per row, or time on a named machine."""


#: The description of the key ``vars``. It has no field: variables are substituted before a file is checked.
VARS = "Values that the file uses as `${name}`, inside strings or in place of any value: `{NAME: VALUE}`."


class PipelineSpec(Frozen):
    """A pipeline file: its models, steps, budget and rounds."""

    gristmill: Literal[1]
    """Version of the format."""
    name: Name
    """Name of the pipeline in reports and on data cards: a-z, 0-9, `_` and `-`, starting with a letter."""
    about: About | None = None
    """The purpose of the file, as listed by `gristmill recipes`. It does not affect a run."""
    needs: tuple[str, ...] = ()
    """Variables without which the file cannot run: a name, or several of which one is enough, such as
    `data or parquet`. A variable that is empty is asked for when the file is planned."""
    seed: int = Field(0, ge=0)
    """Seed of the run; the seeds of all steps derive from it."""
    budget: Budget = Field(default_factory=lambda: Budget.model_validate({}))
    """Limits of a run. It stops cleanly with exit code 3 when one is reached, and can be resumed. By default
    there is no limit."""
    models: dict[Name, ModelSpec] = Field(default_factory=dict)
    """Models that steps name: `{NAME: {path: ..., engine: ...}}`."""
    steps: dict[Name, StepSpec] = Field(default_factory=dict)
    """Steps of the pipeline: `{NAME: {VERB: OPERATOR, from: STEP, ...}}`, in any order."""
    memory: Bytes | None = None
    """Memory of the run's process: bytes, or a text such as `500MB`, `2GB` or `1.5GiB`, at least 100 MB. What
    does not fit is kept on disk. It changes the speed and not the rows. By default half of the machine's free
    memory."""
    loop: LoopSpec = Field(default_factory=lambda: LoopSpec.model_validate({}))
    """Rounds, and when a student is promoted. By default there is one round."""
    on_failure: OnFailure = "continue"
    """How the run handles failed rows. `continue` counts them and continues, but stops the run if all rows of
    a step fail. `accept` continues even then, for a side branch of few rows. `stop` stops the run at the
    first failed row."""
    metrics: tuple[Literal["mlflow", "tensorboard", "trackio", "wandb"], ...] = ()
    """Trackers that receive counts, metrics and decisions. By default there are none."""
    out: str | None = Field(None, min_length=1)
    """Directory of the run. By default `runs/NAME`."""

    #: The file after variables and overrides, as plain values; stored as `spec.yaml` of a run.
    _document: dict[str, Any] = PrivateAttr(default_factory=dict)
    #: What `needs` names and is empty.
    _missing: tuple[SpecProblem, ...] = PrivateAttr(default=())
    #: The place of everything in the file, as a mistake without a message, for errors found when planning.
    _places: dict[tuple[str | int, ...], SpecProblem] = PrivateAttr(default_factory=dict)
    #: The path of a parameter of a step -> its path in the file, where that is another.
    _renamed: dict[tuple[str | int, ...], tuple[str | int, ...]] = PrivateAttr(default_factory=dict)
    _uses: VariableUses = PrivateAttr(default_factory=VariableUses)

    @property
    def directory(self) -> Path:
        """The default directory of a run."""
        return Path(self.out).expanduser() if self.out else Path("runs") / self.name

    def resolved(self) -> str:
        """The file as YAML text with variables and overrides substituted; loading it gives the same
        specification.
        """
        import yaml

        return yaml.safe_dump(self._document, sort_keys=False, allow_unicode=True, width=110)

    def recorded(self) -> str:
        """The YAML text without secrets, for the run directory."""
        import yaml

        return yaml.safe_dump(scrubbed(self._document), sort_keys=False, allow_unicode=True, width=110)

    @property
    def missing(self) -> tuple[SpecProblem, ...]:
        """The variables that are needed and empty."""
        return self._missing

    def told(self, path: tuple[str | int, ...], message: str) -> str:
        """The message of a mistake at ``path``, with the variables of the file that its value came from."""
        return self._uses.told(path, message)

    def problem(self, path: tuple[str | int, ...], message: str) -> SpecProblem:
        """A mistake at its place in the file.

        ``path``: a step or a model, ``("steps", name)``, and the parameter and the keys inside of it. What
        the file does not contain is told at what would contain it.
        """
        for length in range(len(path), 0, -1):
            path = (*self._renamed.get(path[:length], path[:length]), *path[length:])
        message = self.told(path, message)
        for length in range(len(path), 0, -1):
            if path[:length] in self._places:
                return replace(self._places[path[:length]], message=message)
        return SpecProblem("", 1, 1, ".".join(map(str, path)), message)
