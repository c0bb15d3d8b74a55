"""Any file gives either a specification or a GristmillError, never another exception."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gristmill.contracts import secrets
from gristmill.contracts.errors import SpecError
from gristmill.pipelines.file.load import loads
from gristmill.pipelines.file.spec import PipelineSpec

TEXT = (Path(__file__).parents[2] / "data" / "pipeline.yaml").read_text()
PARSED: dict[str, Any] = yaml.safe_load(TEXT)
JSON = json.dumps(PARSED)
Path_ = tuple[Any, ...]


def paths(value: Any, at: Path_ = ()) -> list[Path_]:
    """Every place in a document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(found for key, each in inner for found in paths(each, (*at, key)))]


PATHS = [path for path in paths(PARSED) if path]
WORDS = sorted(
    {str(part) for path in PATHS for part in path} | {"", "true", "${rows}", "${no}", "a.b", "nul\0"}
)
VALUES = [
    *(
        None,
        True,
        0,
        -1,
        2**70,
        1.5,
        float("nan"),
        float("inf"),
        "",
        "x",
        "${rows}",
        "${nope}",
        "-1",
        "1e400",
    ),
    *(
        [],
        {},
        [[]],
        [None],
        {"a": {"b": 1}},
        {"kind": "dora"},
        ["tasks", "evals"],
        "verdict.gain > (",
        "a b:c",
        ":",
    ),
    *(
        {"engine": "openai"},
        {"engine": "synthetic"},
        {"engine": ["vllm"]},
        {"keep": 1},
        "m:f",
        "os:system",
        "\ud7ff",
    ),
]
SNIPPETS = [
    *(
        "\t",
        "\n",
        " ",
        ":",
        "-",
        "{",
        "}",
        "[",
        "]",
        '"',
        "'",
        "#",
        "&a ",
        "*a",
        "<<: ",
        "!!int ",
        "? ",
        "| ",
        "---\n",
    ),
    *(
        "${",
        "}",
        "$${",
        "%",
        "@",
        "\x07",
        "\ufeff",
        "é",
        "0x",
        "steps:",
        "tasks: ",
        "1e9",
        "!!python/name:os.system ",
    ),
]


@pytest.fixture(scope="module", autouse=True)
def no_secrets_are_left() -> Iterator[None]:
    """Forget learned secrets: a word that was moved to a secret's place would stay hidden in later tests."""
    before = set(secrets._learned)
    yield
    secrets._learned.clear()
    secrets._learned.update(before)


def holder(document: Any, path: Path_) -> Any:
    for part in path[:-1]:
        document = document[part]
    return document


@st.composite
def structures(draw: st.DrawFn) -> str:
    """The file with up to four of its parts deleted, duplicated, renamed, misspelled, moved or retyped."""
    document = json.loads(JSON)
    for _ in range(draw(st.integers(1, 4))):
        path = draw(st.sampled_from(PATHS))
        try:
            inside = holder(document, path)
            value = inside[path[-1]]
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change took it away
        if isinstance(inside, str):
            continue  # an earlier change put a text in place of a list
        change = draw(st.sampled_from(("delete", "rename", "typo", "replace", "move", "double", "swap")))
        if change == "delete":
            del inside[path[-1]]
        elif change == "replace":
            inside[path[-1]] = copy.deepcopy(draw(st.sampled_from(VALUES)))
        elif change == "move":
            inside[path[-1]] = draw(st.sampled_from(WORDS))
        elif change == "swap" and isinstance(inside, dict):
            other = draw(st.sampled_from(sorted(inside)))
            inside[path[-1]], inside[other] = inside[other], inside[path[-1]]
        elif isinstance(inside, dict):
            name = str(path[-1])
            cut = draw(st.integers(0, len(name)))
            names = {
                "rename": draw(st.sampled_from(WORDS)),
                "typo": name[:cut] + name[cut + 1 :],
                "double": name + "2",
            }
            inside[names.get(change, name)] = value if change == "double" else inside.pop(path[-1])
    return json.dumps(document)  # JSON is YAML, and is written much faster


@st.composite
def texts(draw: st.DrawFn) -> str:
    """The file's text with up to four pieces removed, inserted or moved."""
    text = TEXT
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        stop = min(len(text), start + draw(st.integers(0, 12)))
        piece = draw(st.sampled_from([*SNIPPETS, text[stop : stop + 30]]))
        text = text[:start] + piece + text[stop:]
    return text


@settings(max_examples=10_000, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.one_of(structures(), texts()), st.sampled_from([(), ("vars.rows=3",), ("steps.answers.samples=[",)])
)
def test_a_mutated_file_is_a_specification_or_our_error(text: str, overrides: tuple[str, ...]) -> None:
    try:
        spec = loads(text, "fuzz.yaml", overrides)
    except SpecError as error:
        problems = error.problems
    else:
        assert isinstance(spec, PipelineSpec)
        assert spec.steps
        return
    assert problems
    for problem in problems:
        assert problem.line >= 1
        assert problem.column >= 1
        assert problem.message


def test_the_fuzzed_file_itself_is_sound() -> None:
    assert len(loads(TEXT).steps) == len(PARSED["steps"])
