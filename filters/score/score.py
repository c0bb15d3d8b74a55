"""``score:`` adds columns that measure the quality of a row; ``keep`` decides by them."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, field_validator

from ...contracts import registry
from ...contracts.context import Context
from ...contracts.counting import counted
from ...contracts.errors import DataError, GristmillError
from ...contracts.mistakes import Collected
from ...contracts.nearest import did_you_mean
from ...contracts.operators import TableApply, TableMap, as_list
from ...contracts.outcomes import TableResult
from ...contracts.user_function import is_reference, load, source_digest, takes_table, type_hints
from ..columns import without_nan
from .scorers import READS, SCORERS, scorer

if TYPE_CHECKING:
    import pyarrow as pa


class Score(TableMap):
    """Adds columns that measure the quality of a row.

    `length`, `mean_logprob`, `self_certainty` and your own functions can stand in one list; the other
    scores are steps of their own, since they have parameters. Nothing is filtered: ``keep`` decides by
    these columns, so a threshold can change without scoring again. A score that is undefined or NaN is
    null. A row for which your own function raises fails with the reason.

    Reads:
        response (text): for `length`.
        completion_tokens (int): for `length`, if rows have it.
        logprobs (list of floats): for `mean_logprob`.
        top_logprobs, vocab_size: for `self_certainty`.

    Adds:
        response_words, response_chars, response_tokens (int64): by `length`.
        mean_logprob (float64): by `mean_logprob`: mean log-probability per token under the sampling model, in
            nats.
        self_certainty (float64): by `self_certainty` (Kang, Zhao and Song, 2025): mean divergence of the
            next-token distribution from the uniform one, in nats: a lower bound from the likeliest tokens.
            Higher is more certain. Compare it only within one model and one value of `logprobs`.
        a column with the function's name: by `module:function`.

    Example:
        scored: {score: [length, self_certainty, my_rules:politeness], from: checked}
    """

    value_field: ClassVar[str | None] = "score"

    score: Annotated[
        tuple[str, ...],
        Field(min_length=1),
        BeforeValidator(as_list, json_schema_input_type=str | list[str]),
    ]
    """Scorers to run: one, or a list. `length`, `mean_logprob`, `self_certainty`, or your own function as
    `module:function`. It takes a row (a dict) or, if annotated so, an Arrow table."""

    @field_validator("score")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name in registry.names("score"):
                raise ValueError(f"'{name}' is a step of its own, not one of a list: `score: {name}`")
            if name not in SCORERS and not is_reference(name):
                own = registry.names("score")
                raise ValueError(
                    f"no scorer '{name}'{did_you_mean(name, [*SCORERS, *own]) or '.'} There are "
                    f"{', '.join(SCORERS)}, functions of yours as module:function, and as steps of their own "
                    f"{', '.join(own)}"
                )
        if len(set(names)) < len(names):
            raise ValueError(f"a scorer is listed twice in {list(names)}")
        return names

    def content(self) -> Mapping[str, str]:
        """The source digests of the user's functions. Raises DataError, of all that cannot be found."""
        digests: dict[str, str] = {}
        with Collected() as found:
            for name in filter(is_reference, self.score):
                with found.at("score"):
                    digests[name] = source_digest(name)
        return digests

    def uses_columns(self) -> Iterable[str]:
        return tuple(column for name in self.score for column in READS.get(name, ()))

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        made = {"length": ("response_words", "response_chars", "response_tokens")}
        names = (made.get(name, (name.rpartition(":")[2].rpartition(".")[2],)) for name in self.score)
        return None if columns is None else [*columns, *(name for group in names for name in group)]

    def open(self, context: Context) -> TableApply:
        """Load the scorers. Raises DataError if a user's function cannot be used."""
        builtin = [scorer(name) for name in self.score if not is_reference(name)]
        functions = [_UserScorer(name) for name in self.score if is_reference(name)]

        def apply(table: pa.Table) -> TableResult:
            import pyarrow as pa

            columns: dict[str, Any] = {}
            errors: list[str | None] = [None] * table.num_rows
            for score in builtin:
                columns.update(score(table))
            for function in functions:
                columns[function.column] = function(table, errors)
            known = without_nan(pa.table(columns))
            return TableResult(
                columns={name: known.column(name) for name in columns}, errors=errors if any(errors) else None
            )

        return apply


_ARROW_NAMES: dict[object, str] = {float: "double", int: "int64", bool: "bool", str: "string"}


class _UserScorer:
    """A user's function as a scorer: of each row, or of the whole table if it is annotated so."""

    def __init__(self, reference: str) -> None:
        self.reference = reference
        self.function: Callable[..., Any] = load(reference)
        self.column = reference.rpartition(":")[2].rpartition(".")[2]
        parameters = list(inspect.signature(self.function).parameters.values())
        if not parameters:
            raise DataError(f"score: {reference} must take one argument, a row (dict) or a pa.Table")
        hints = type_hints(self.function)
        self.of_table = takes_table(hints.get(parameters[0].name, parameters[0].annotation))
        answer = hints.get("return", float)
        kinds = [kind for kind in typing.get_args(answer) or (answer,) if kind is not type(None)]
        self.type_name = _ARROW_NAMES.get(kinds[0] if len(kinds) == 1 else None)
        if self.type_name is None and not self.of_table:
            raise DataError(
                f"score: {reference} must return float, int, bool or str; it is annotated {answer}"
            )

    def __call__(self, table: pa.Table, errors: list[str | None]) -> pa.Array | pa.ChunkedArray:
        return self._of_table(table) if self.of_table else self._of_rows(table, errors)

    def _of_table(self, table: pa.Table) -> pa.Array | pa.ChunkedArray:
        import pyarrow as pa

        try:
            column = self.function(table)
        except GristmillError:
            raise
        except Exception as error:
            raise DataError(f"score: {self.reference} raised {type(error).__name__}: {error}") from error
        if not isinstance(column, (pa.Array, pa.ChunkedArray)) or len(column) != table.num_rows:
            found = f"{len(column)} values" if hasattr(column, "__len__") else type(column).__name__
            raise DataError(
                f"score: {self.reference} must return an Arrow array of the table's "
                f"{counted(table.num_rows, 'row')}; "
                f"it returned {found} ({type(column).__name__})"
            )
        return column

    def _of_rows(self, table: pa.Table, errors: list[str | None]) -> pa.Array:
        import pyarrow as pa

        kind = pa.type_for_alias(self.type_name)
        values: list[Any] = []
        for index, row in enumerate(table.to_pylist()):
            value = None
            try:
                value = self.function(row)
                pa.scalar(value, kind)
            except Exception as error:
                value = None
                errors[index] = f"{self.reference} raised {type(error).__name__}: {error}"
            values.append(value)
        return pa.array(values, kind)
