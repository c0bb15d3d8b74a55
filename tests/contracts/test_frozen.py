"""The string below a field describes it, and is read when somebody asks."""

from __future__ import annotations

import linecache
from pathlib import Path
from typing import Any

from pydantic import Field

from gristmill.contracts.frozen import Frozen, descriptions


def marked(kind: type) -> type:
    return kind


@marked
class Mill(Frozen):
    """A mill."""

    stones: int = 2
    """How many stones
    it has."""
    river: str = "Avon"
    rate: float = Field(1.0, alias="kg")
    """In kg per hour."""
    depth: float = Field(0.5, description="In meters.")
    """Not this."""


class Windmill(Mill):
    """Its fields are those of a mill, and one has another meaning."""

    river: str = "none"
    """It needs none."""
    sails: Mill | None = None
    """Of another mill."""


class Silent(Mill):
    stones: int = 3


def test_the_string_below_a_field_describes_it() -> None:
    expected = {"stones": "How many stones\nit has.", "rate": "In kg per hour.", "depth": "In meters."}
    assert descriptions(Mill) == expected


def test_descriptions_are_inherited_until_the_field_is_declared_anew() -> None:
    expected = {"river": "It needs none.", "sails": "Of another mill."}
    assert descriptions(Windmill) == descriptions(Mill) | expected
    assert descriptions(Silent) == {"rate": "In kg per hour.", "depth": "In meters."}


def test_a_json_schema_has_them_by_the_names_in_the_file() -> None:
    made = Windmill.model_json_schema()
    shown = {name: field.get("description") for name, field in made["properties"].items()}
    assert shown == {
        "stones": "How many stones\nit has.",
        "river": "It needs none.",
        "kg": "In kg per hour.",
        "depth": "In meters.",
        "sails": "Of another mill.",
    }
    inner = made["$defs"]["Mill"]
    assert inner["description"] == "A mill."
    assert inner["properties"]["stones"]["description"] == "How many stones\nit has."
    assert "description" not in inner["properties"]["river"]


CELL = '''
from gristmill.contracts.frozen import Frozen

if True:
    class Cell(Frozen):
        a: int = 1
        """First."""
first = Cell

class Cell(Frozen):
    a: int = 1
    """Second."""
'''


def run(name: str) -> dict[str, Any]:
    space: dict[str, Any] = {"__name__": name}
    exec(compile(CELL, f"<{name}>", "exec"), space)
    return space


def test_classes_of_one_name_in_a_notebook_are_told_apart() -> None:
    linecache.cache["<cell of a notebook>"] = (len(CELL), None, CELL.splitlines(True), "<cell of a notebook>")
    made = run("cell of a notebook")
    assert descriptions(made["first"]) == {"a": "First."}
    assert descriptions(made["Cell"]) == {"a": "Second."}


def test_a_class_without_a_source_has_no_strings() -> None:
    made = run("no such file")
    assert descriptions(made["Cell"]) == {}
    assert "description" not in made["Cell"].model_json_schema()["properties"]["a"]


def test_a_source_that_is_no_python_any_more_has_no_strings(tmp_path: Path) -> None:
    file = tmp_path / "changed.py"
    file.write_text("class Cell(:\n")
    space: dict[str, Any] = {"__name__": "changed"}
    exec(compile(CELL, str(file), "exec"), space)
    assert descriptions(space["Cell"]) == {}
