"""Python functions as tools: their schemas from annotations, defaults and docstrings; nothing is run."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

from gristmill.contracts.errors import DataError
from gristmill.datagen.sources.python_tools import PythonTools
from gristmill.datagen.tools.docstrings import described
from gristmill.datagen.tools.signatures import functions_in, tool_of


def parameters(signature: str) -> dict[str, Any]:
    [function] = functions_in(f"def f({signature}): ...")
    tool = tool_of(function)
    assert tool["type"] == "function"
    return dict(tool["function"]["parameters"])


@pytest.mark.parametrize(
    ("annotation", "schema"),
    [
        ("str", {"type": "string"}),
        ("int", {"type": "integer"}),
        ("float", {"type": "number"}),
        ("bool", {"type": "boolean"}),
        ("'int'", {"type": "integer"}),
        ("Any", {}),
        ("list", {"type": "array"}),
        ("list[int]", {"type": "array", "items": {"type": "integer"}}),
        ("collections.abc.Sequence[str]", {"type": "array", "items": {"type": "string"}}),
        ("dict", {"type": "object"}),
        ("dict[str, float]", {"type": "object", "additionalProperties": {"type": "number"}}),
        ("Literal['a', 'b']", {"type": "string", "enum": ["a", "b"]}),
        ("typing.Literal[1, 'b']", {"enum": [1, "b"]}),
        ("Literal[True]", {"type": "boolean", "enum": [True]}),
        ("Literal[-1, 1]", {"type": "integer", "enum": [-1, 1]}),
        ("Literal['a', None]", {"enum": ["a", None]}),
        ("int | None", {"type": ["integer", "null"]}),
        ("Optional[int]", {"type": ["integer", "null"]}),
        ("Union[int, str, None]", {"type": ["integer", "string", "null"]}),
        ("Annotated[int, 'more']", {"type": "integer"}),
        ("list[int] | str", {"anyOf": [{"type": "array", "items": {"type": "integer"}}, {"type": "string"}]}),
        ("int | Any", {}),
    ],
)
def test_annotations_become_schemas(annotation: str, schema: dict[str, Any]) -> None:
    assert parameters(f"a: {annotation}")["properties"] == {"a": schema}


@pytest.mark.parametrize(
    "annotation",
    [
        "date",
        "set[int]",
        "dict[int, str]",
        "tuple[int, str]",
        "list[date]",
        "f()",
        "Literal[1.5]",
        "Literal[f()]",
    ],
)
def test_an_annotation_without_a_schema_is_named(annotation: str) -> None:
    with pytest.raises(DataError, match=r"f: argument 'a': its annotation .* has no JSON Schema here; known"):
        parameters(f"a: {annotation}")


def test_defaults_are_optional() -> None:
    found = parameters("a, b: int, c: int = 2, *, d: str, e: str | None = None, g: float = f()")
    assert found["required"] == ["a", "b", "d"]
    assert found["properties"]["c"] == {"type": "integer", "default": 2}
    assert found["properties"]["e"] == {"type": ["string", "null"]}
    assert found["properties"]["g"] == {"type": "number"}
    assert parameters("a, **more")["required"] == ["a"]
    assert "additionalProperties" not in found
    for signature in ("a, /", "*many"):
        with pytest.raises(DataError, match="cannot be given by its name"):
            parameters(signature)


@pytest.mark.parametrize("default", ["1e999", "-1e999", "1j", "(1,)", "b'x'"])
def test_a_default_that_is_no_json_is_left_out(default: str) -> None:
    assert parameters(f"a: float = {default}")["properties"]["a"] == {"type": "number"}
    assert parameters("a: float = -1.5")["properties"]["a"]["default"] == -1.5


def test_other_named_arguments_are_open() -> None:
    found = parameters("a: int, **more: str")
    assert found["properties"] == {"a": {"type": "integer"}}
    assert found["additionalProperties"] == {"type": "string"}
    for signature in ("**more", "**more: Any"):
        assert parameters(signature)["additionalProperties"] is True
    with pytest.raises(DataError, match="f: argument 'more': its annotation 'date'"):
        parameters("**more: date")


GOOGLE = """Look a place up.

    On a map, that is.

    Args:
        place: The place,
            with its country.
        many (int, optional): How many: at most ten.

    Returns:
        place: something else.
    """
NUMPY = """Look a place up.

    On a map, that is.

    Parameters
    ----------
    place : str
        The place,
        with its country.
    many : int
        How many: at most ten.

    Returns
    -------
    place
        Something else.
    """
SPHINX = """Look a place up.

    On a map, that is.

    :param place: The place,
        with its country.
    :param int many: How many: at most ten.
    :return: something else
    """


@pytest.mark.parametrize("docstring", [GOOGLE, NUMPY, SPHINX])
def test_docstrings_describe_arguments(docstring: str) -> None:
    about, arguments = described(docstring)
    assert about == "Look a place up. On a map, that is."
    assert arguments == {"place": "The place, with its country.", "many": "How many: at most ten."}
    assert described(None) == ("", {})
    assert described("Just this: a text.") == ("Just this: a text.", {})


def test_public_functions_are_tools(tmp_path: Path) -> None:
    file = tmp_path / "tools.py"
    file.write_text(
        inspect.cleandoc(
            '''
            raise SystemExit("never run")
            def one(a: int) -> int:
                """Give one."""
            async def two(): ...
            def _hidden(a): ...
            class Three:
                def four(self): ...
            '''
        )
    )
    source = PythonTools(path=str(file))
    source.inspect()
    [batch] = list(source.read(None))  # type: ignore[arg-type]
    assert batch.column_names == list(source.makes_columns(None) or ())
    assert [(row["name"], row["description"]) for row in batch.to_pylist()] == [
        ("one", "Give one."),
        ("two", ""),
    ]
    assert source.estimate(0).rows == 2
    assert list(source.content()) == [str(file)]


def test_files_without_tools_are_refused_by_the_plan(tmp_path: Path) -> None:
    file = tmp_path / "tools.py"
    for text, message in (
        ("x = 1", "has no tools"),
        ("def f(:", "it is not Python"),
        ("def f(a: date): ...", "f: argument 'a'"),
    ):
        file.write_text(text)
        with pytest.raises(DataError, match=message):
            PythonTools(path=str(file)).inspect()
    with pytest.raises(DataError, match="cannot be read"):
        PythonTools(path=str(tmp_path / "none.py")).inspect()
