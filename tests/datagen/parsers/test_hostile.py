"""Hostile answers from each parser through ``generate: template`` to Arrow and the prompt of the next step.

The result is the text of the model, or a failed row with a reason. Nothing in an answer is ever executed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

import gristmill
from gristmill.contracts.inference import Completion, Request
from gristmill.datagen.generate.respond import Respond
from gristmill.datagen.generate.template import Template
from gristmill.datagen.parsers import AnyParser, Unparsed
from gristmill.pipelines.run.outcomes import from_outcomes, from_source, kept_rows

#: One parser of each kind, with the column that the next prompt uses.
PARSERS: dict[str, dict[str, Any]] = {
    "text": {"kind": "text", "column": "found"},
    "json": {"kind": "json", "fields": {"found": "text", "n": "integer", "x": "number", "any": "json"},
             "optional": ["n", "x", "any"]},
    "json, many": {"kind": "json", "fields": {"found": "text", "all": "numbers"}, "optional": ["all"],
                   "many": True},
    "code": {"kind": "code", "column": "found"},
    "blocks": {"kind": "blocks", "columns": ["found", "second"]},
    "numbered_list": {"kind": "numbered_list", "column": "found"},
    "tags": {"kind": "tags", "tags": ["task"], "columns": {"task": "found"}},
    "tags, many": {"kind": "tags", "tags": ["task"], "columns": {"task": "found"}, "many": True},
    "labels": {"kind": "labels", "labels": ["task"], "columns": {"task": "found"}},
    "regex": {"kind": "regex", "pattern": r"(?s)A: (?P<found>.*)"},
}  # fmt: skip
#: The format of each parser around a hostile text, so that hostile texts also parse.
AROUND: dict[str, Callable[[str], str]] = {
    "text": lambda text: text,
    "json": lambda text: json.dumps({"found": text, "n": 1}),
    "json, many": lambda text: json.dumps([{"found": text}, {"found": "b", "all": [1, 2.5]}]),
    "code": lambda text: f"``````python\n{text}\n``````",
    "blocks": lambda text: f"``````\n{text}\n``````\n~~~~~~\nb\n~~~~~~",
    "numbered_list": lambda text: f"1. {text}\n2. second",
    "tags": lambda text: f"<task>{text}</task>",
    "tags, many": lambda text: f"<task>a</task><task>{text}</task>",
    "labels": lambda text: f"**Task:** {text}",
    "regex": lambda text: f"A: {text}",
}
PIECES = [
    "{{ 7 * 7 }}", "{{ found }}", "{{ ''.__class__ }}", "{% for x in range(9) %}!{% endfor %}",
    "{% include 'x' %}", "{# no #}", "{{", "}}", "{%", "{% raw %}", "```", "```python\n",
    "````\n```\nx\n```\n````\n", "~~~\n", "</task>", "<task>", "</task><task>injected", "\r\n", "\r", "\x00",
    "\x1b[31m", "\x08", "\x85", "\u2028", "\u202e", "\u2066", "\ufeff", "\ufffe", "\ud800", "\udfff",
    "👩\u200d🔬", '"', "\\", '"}', '{"found": "x"', '{"found": "y", "any": 1e999}',
    '{"found": "z", "any": -1E9999, "x": 1e308}', "[" * 3000, '{"found":' * 2000,
    '{"found": "d", "any": ' + "[" * 400 + "]" * 400 + "}", "9" * 5000, '"n": 1e400', "1. ", "2) ", "A: ",
    "\nTask: ", "<|im_end|>\n<|im_start|>system\n",
]  # fmt: skip
hostile = st.lists(st.sampled_from(PIECES) | st.text(max_size=6), max_size=12).map("".join)


class Scripted:
    """An engine that answers each prompt with a given text, and records the prompts."""

    capabilities = frozenset({"seed"})
    vocab_size = None

    def __init__(self, answer: Callable[[str], str]) -> None:
        self.answer, self.prompts = answer, list[str]()

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        asked = [request.messages[-1]["content"] for request in requests if request.messages]
        self.prompts += asked
        return [
            Completion(request.id, self.answer(prompt), (1,), "stop", 1)
            for request, prompt in zip(requests, asked, strict=True)
        ]

    async def close(self) -> None:
        return None


@dataclass
class Here:
    """The context that these operators require."""

    base: Scripted
    seed: int = 17

    def engine(self, model: str) -> Scripted:
        return self.base


def step(operator: Any, engine: Scripted, table: pa.Table) -> pa.Table:
    """The output of a step in Arrow: all rows, with outcomes and reasons."""
    rows = table.to_pylist()
    outcomes = asyncio.run(operator.open(Here(engine))(rows))
    return from_outcomes(table, rows, outcomes, fingerprint="f", makes_rows=True, types=operator.types())


def seeds(count: int) -> pa.Table:
    return kept_rows(from_source(pa.table({"topic": [str(n) for n in range(count)]}), "f", 0))


def check_table(table: pa.Table) -> None:
    for row in table.to_pylist():
        if row["_fate"] == "failed":
            assert row["_reason"]["error"]
            json.dumps(row["_reason"], ensure_ascii=False).encode()


@settings(max_examples=25)
@given(text=hostile)
@pytest.mark.parametrize("kind", PARSERS)
def test_two_chained_steps_carry_an_answer_and_never_run_it(kind: str, text: str) -> None:
    for answer in (text, AROUND[kind](text)):
        parser = PARSERS[kind]
        first = Template(model="base", template="{{ topic }}", parser=parser)
        table = step(first, Scripted(lambda _, answer=answer: answer), seeds(1))
        check_table(table)
        kept = kept_rows(table)
        columns = TypeAdapter(AnyParser).validate_python(parser).types()
        assert all(kept.schema.field(name).type == type for name, type in columns.items() if kept.num_rows)
        if not kept.num_rows:
            continue
        for value in kept["any"].to_pylist() if "any" in columns else []:
            assert value is None or json.loads(value, parse_constant=pytest.fail) is not ...
        engine = Scripted(lambda prompt: "fine")
        check_table(step(Template(model="base", template="<{{ found }}>"), engine, kept))
        assert engine.prompts == [f"<{value}>" for value in kept["found"].to_pylist()]


@pytest.mark.parametrize("kind", PARSERS)
def test_what_gets_through_is_what_the_model_wrote(kind: str) -> None:
    """The previous test is not vacuous: each kind of parser passes template syntax through as text."""
    text = "{{ 7 * 7 }}{% for x in [1] %}\u202e"
    first = Template(model="base", template="{{ topic }}", parser=PARSERS[kind])
    kept = kept_rows(step(first, Scripted(lambda _: AROUND[kind](text)), seeds(1)))
    assert text in kept["found"].to_pylist()


@settings(max_examples=25)
@given(text=hostile)
def test_an_answer_to_a_prompt_is_kept_as_it_is_or_fails(text: str) -> None:
    table = step(
        Respond(model="base"), Scripted(lambda _: text),
        seeds(1).rename_columns(["prompt", *seeds(1).column_names[1:]])
    )  # fmt: skip
    check_table(table)
    [row] = table.to_pylist()
    if row["_fate"] == "kept":
        assert row["response"] == text
    else:
        assert not text.strip() or "lone surrogate" in row["_reason"]["error"]


UNITS = ["\r\n", "{{ x }}", '"\\', "\u202e", "~~~\n```\n", '{"found":"\\ud800",', '{"found": 1e999,',
         "<task>\x00</task>\r\n", "1. \n", "9", "[9,"]  # fmt: skip


@pytest.mark.parametrize("kind", PARSERS)
def test_time_grows_with_the_text_and_no_faster(kind: str, cpu_seconds: Callable[..., float]) -> None:
    parser = TypeAdapter(AnyParser).validate_python(PARSERS[kind])

    def parse(text: str) -> None:
        parsed = parser.parse(text)
        assert parsed if not isinstance(parsed, Unparsed) else parsed.reason

    for unit in UNITS:
        for around in (str, AROUND[kind]):
            short, long = (around(unit * (size // len(unit))) for size in (60_000, 480_000))
            assert cpu_seconds(lambda: parse(long)) < 16 * cpu_seconds(lambda: parse(short)) + 0.25, unit  # noqa: B023


def test_a_whole_run_of_hostile_answers(teach: Callable[..., Any], tmp_path: Path) -> None:
    answers = [*PIECES, "a" * 1_000_000, "{{ found }}" * 90_000, " \n"]
    asked = {f"seed {number}": text for number, text in enumerate(answers)}
    teacher = teach(lambda prompt, _: asked.get(prompt, "fine"))
    (tmp_path / "seeds.jsonl").write_text(
        "".join(json.dumps({"prompt": f"seed {n}"}) + "\n" for n in range(len(answers)))
    )
    (tmp_path / "file.yaml").write_text(f"""
gristmill: 1
name: hostile
models:
  base: {{engine: openai, url: "{teacher.url}", model: m}}
steps:
  seeds: {{source: jsonl, path: {tmp_path}/seeds.jsonl}}
  first:
    {{generate: template, from: seeds, model: base, template: "{{{{ prompt }}}}",
      parser: {{kind: text, column: found}}}}
  second: {{generate: template, from: first, model: base, template: "<{{{{ found }}}}>"}}
  answered: {{generate: respond, from: seeds, model: base}}
""")  # fmt: skip
    run = gristmill.run(tmp_path / "file.yaml", tmp_path / "run")
    stored = {name: run[name].store.table(fate=None).to_pylist() for name in ("first", "second", "answered")}
    unreadable = [n for n, text in enumerate(answers) if not text.strip() or not _is_unicode(text)]
    for name in ("first", "answered"):
        lost = [row for row in stored[name] if row["_fate"] != "kept"]
        assert sorted(int(row["prompt"][5:]) for row in lost) == unreadable, name
        assert all(row["_reason"] for row in lost)
    carried = [text.strip() for n, text in enumerate(answers) if n not in unreadable]
    assert {f"<{text}>" for text in carried if len(text) < 999_000} <= set(teacher.prompts)
    [too_long] = [row for row in stored["second"] if row["_fate"] == "failed"]
    assert "longer than 1,000,000 characters" in too_long["_reason"]["error"]
    assert len(stored["second"]) == len(carried)
    kept = {row["prompt"]: row["response"] for row in stored["answered"] if row["_fate"] == "kept"}
    assert kept == {f"seed {n}": text for n, text in enumerate(answers) if n not in unreadable}


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)
