from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from gristmill.contracts.frozen import Frozen
from gristmill.pipelines.reference.words import default_in_words, type_in_words


class Inner(Frozen):
    deep: int = 1


class Tagged(Frozen):
    kind: Literal["tagged"] = "tagged"


class Sample(Frozen):
    number: Annotated[float, Field(gt=0, le=1)] = 0.5
    count: int | None = Field(None, ge=2)
    flag: bool = False
    word: str = ""
    must: str
    choice: Literal["a", "b", "c"] = "a"
    either: bool | Literal["auto"] = "auto"
    texts: tuple[str, ...] = ("x", "y")
    one_or_many: str | tuple[str, ...] = ()
    choices: tuple[Literal["a", "b"], ...] = ()
    pair: tuple[float, float] | None = None
    weights: dict[str, list[str] | dict[str, float]] = Field(default_factory=dict)
    anything: dict[str, Any] = Field(default_factory=lambda: {"a": [1, None]})
    inner: Inner = Inner(deep=2)
    same: Inner = Inner()
    tagged: Tagged | None = Field(default_factory=Tagged)


TYPES = {
    "number": "number, above 0 and at most 1",
    "count": "whole number, at least 2",
    "flag": "true or false",
    "word": "text",
    "choice": "`a`, `b` or `c`",
    "either": "true or false or `auto`",
    "texts": "list of texts",
    "one_or_many": "text or list of texts",
    "choices": "list of `a` or `b`",
    "pair": "list of numbers",
    "weights": "mapping of names to lists of texts or mappings of names to numbers",
    "anything": "mapping",
    "inner": "mapping",
    "tagged": "mapping",
}
DEFAULTS = {
    "number": "`0.5`",
    "count": "none",
    "flag": "`false`",
    "word": "`''`",
    "must": None,
    "choice": "`a`",
    "texts": "`[x, y]`",
    "one_or_many": "none",
    "weights": "none",
    "anything": "`{a: [1, null]}`",
    "inner": "`{deep: 2}`",
    "same": "",
    "tagged": "`{kind: tagged}`",
}


@pytest.mark.parametrize("name", TYPES)
def test_types_in_plain_words(name: str) -> None:
    assert type_in_words(Sample.model_json_schema()["properties"][name]) == TYPES[name]


@pytest.mark.parametrize("name", DEFAULTS)
def test_defaults_as_a_file_would_say_them(name: str) -> None:
    assert default_in_words(Sample.model_fields[name]) == DEFAULTS[name]
