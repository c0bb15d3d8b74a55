"""Rows from templates: prompts filled, answers parsed, failures with their reason."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from gristmill.contracts.errors import DataError, EngineError
from gristmill.contracts.inference import Completion, Request
from gristmill.contracts.outcomes import Failed, Kept
from gristmill.datagen.generate.template import Template
from gristmill.filters.score.mean_logprob import mean_logprob


class Echo:
    """An engine whose answer depends only on the prompt."""

    capabilities = frozenset({"seed"})

    def __init__(self, answer: Callable[[str], str], finish: str = "stop") -> None:
        self.answer, self.finish = answer, finish
        self.seen: list[Request] = []

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        if any("POISON" in str(request.messages) for request in requests):
            raise EngineError("too long", retryable=False)
        self.seen += requests
        return [
            Completion(
                r.id, self.answer(r.messages[-1]["content"] if r.messages else ""), (1, 2), self.finish, 5
            )
            for r in requests
        ]

    async def close(self) -> None:
        return None


def outcomes(operator: Template, engine: Echo, context: Any, rows: list[dict[str, Any]]) -> list[list[Any]]:
    context.engines["base"] = engine
    return asyncio.run(operator.open(context)(rows))


def test_records_of_an_answer_are_rows(context: Any) -> None:
    operator = Template(
        model="base",
        template="Ask {{ count }} things about {{ topic }}.",
        system="You like {{ topic }}.",
        variables={"count": 2},
        parser={"kind": "numbered_list", "column": "prompt"},
        samples=2,
    )
    engine = Echo(lambda prompt: "1. How?\n2. Why?")
    rows = [{"_id": "r", "topic": "tea", "prompt": "old", "response": "old answer", "score": 1.0}]
    found = outcomes(operator, engine, context, rows)[0]
    assert [(o.row["sample"], o.row["item"], o.row["prompt"]) for o in found] == [
        (0, 0, "How?"), (0, 1, "Why?"), (1, 0, "How?"), (1, 1, "Why?"),
    ]  # fmt: skip
    assert all(o.row["response"] is None and "score" not in o.row for o in found)
    assert engine.seen[0].messages == (
        {"role": "system", "content": "You like tea."},
        {"role": "user", "content": "Ask 2 things about tea."},
    )
    schema = pa.schema([(name, kind) for name, kind in operator.types().items() if name in found[0].row])
    assert pa.RecordBatch.from_pylist([o.row for o in found], schema=schema).num_rows == 4


def test_how_sure_the_model_was_is_told_of_each_record(context: Any) -> None:
    """Scorers read the columns of the judge's answer, not those of the judged answer."""

    class Sure(Echo):
        vocab_size = 9

        async def generate(self, requests: Sequence[Request]) -> list[Completion]:
            plain = await super().generate(requests)
            top = ((-0.1, -2.5), (-0.2, -1.75))
            return [replace(c, logprobs=(-0.1, -1.75), top_logprobs=top) for c in plain]

    judge = Template(model="base", template="Is {{ response }} right?", parser={"kind": "text"}, logprobs=2)
    row = {"_id": "r", "response": "4", "logprobs": [-7.0], "top_logprobs": [[-7.0]], "vocab_size": 50}
    [[kept]] = outcomes(judge, Sure(lambda prompt: "yes"), context, [row])
    assert kept.row["logprobs"] == [-0.1, -1.75]
    assert kept.row["top_logprobs"] == [[-0.1, -2.5], [-0.2, -1.75]]
    assert kept.row["vocab_size"] == 9
    made = pa.Table.from_pylist([kept.row], schema=pa.schema({n: judge.types()[n] for n in kept.row}))
    assert mean_logprob(made)["mean_logprob"].to_pylist() == [pytest.approx(-0.925)]

    unasked = judge.model_copy(update={"logprobs": None})
    [[kept]] = outcomes(unasked, Echo(lambda prompt: "yes"), context, [row])
    assert not {"logprobs", "top_logprobs", "vocab_size"} & set(kept.row), "the row's own stay as they are"


def test_the_end_of_an_answer_closes_the_last_tag_unless_it_was_cut(context: Any) -> None:
    parser = {"kind": "tags", "tags": ["problem", "solution"]}
    operator = Template(model="base", template="{{ text }}", parser=parser)
    texts = [
        "<problem>p</problem> <solution>\ns < t\n",
        "<problem>p</problem><solution>s</solution> Good luck!",
        "<problem>p <solution>s",
        "<problem>p</problem>",
        "<problem>p</problem><solution>s</solution><solution>t",
    ]
    rows = [{"_id": str(number), "text": text} for number, text in enumerate(texts)]
    made = [outcome for [outcome] in outcomes(operator, Echo(lambda prompt: prompt), context, rows)]
    assert [type(each) for each in made] == [Kept, Kept, Failed, Failed, Failed]
    assert [each.row["solution"] for each in made[:2] if isinstance(each, Kept)] == ["s < t", "s"]
    [[cut]] = outcomes(operator, Echo(lambda prompt: prompt, finish="length"), context, rows[:1])
    assert isinstance(cut, Failed)
    assert "<solution> is not closed, cut off by max_tokens" in cut.error


def test_what_goes_wrong_fails_that_row_with_the_reason(context: Any) -> None:
    operator = Template(model="base", template="{{ text }}", parser={"kind": "json", "fields": {"q": "text"}})
    engine = Echo(lambda prompt: prompt, finish="length")
    rows = [
        {"_id": "good", "text": '{"q": "x"}'},
        {"_id": "half", "text": '{"q": "x'},
        {"_id": "none"},
        {"_id": "long", "text": "POISON"},
    ]
    good, half, none, long = outcomes(operator, engine, context, rows)
    assert isinstance(good[0], Kept)
    assert good[0].row["q"] == "x"
    assert [type(o) for o in (half[0], none[0], long[0])] == [Failed] * 3
    assert half[0].error.startswith("json: not JSON")
    assert "cut off by max_tokens" in half[0].error
    assert half[0].row["answer"] == '{"q": "x'
    assert "'text' is undefined" in none[0].error
    assert long[0].error == "too long"


def test_a_byte_order_mark_is_no_part_of_a_prompt(tmp_path: Path, context: Any) -> None:
    file = tmp_path / "mine.jinja"
    file.write_bytes(b"\xef\xbb\xbf{{ text }}\r\n")
    [[kept]] = outcomes(
        Template(model="base", template=str(file)), Echo(ascii), context, [{"_id": "r", "text": "x"}]
    )
    assert kept.row["response"] in ("'x'", "'x\\n'")


def test_a_row_cannot_write_the_template(context: Any) -> None:
    engine = Echo(lambda prompt: prompt)
    hostile = "{{ 7 * 7 }}{% for x in range(9) %}!{% endfor %}"
    found = outcomes(
        Template(model="base", template="[{{ t }}]"), engine, context, [{"_id": "r", "t": hostile}]
    )
    assert found[0][0].row["response"] == f"[{hostile}]"


def test_the_digest_follows_the_template(tmp_path: Path) -> None:
    file = tmp_path / "mine.jinja"
    file.write_text("{# version: 1 #}{{ x }}")
    operator = Template(model="base", template=str(file), system="Be brief.")
    before = operator.content()
    file.write_text("{# version: 1 #}{{ x }}!")
    assert operator.content()["template"] != before["template"]
    assert operator.content()["system"] == before["system"]
    with pytest.raises(DataError, match="did you mean 'harder_task'"):
        Template(model="base", template="harder_tasks").content()


def test_a_wrong_parser_is_a_mistake_in_the_file() -> None:
    with pytest.raises(ValidationError, match="numbered_list"):
        Template(model="base", template="{{ x }}", parser={"kind": "yaml"})


def test_guided_answers_have_the_form_that_the_parser_reads_where_the_engine_can(context: Any) -> None:
    tags = {"kind": "tags", "tags": ["q"]}
    operator = Template(model="base", template="{{ x }}", parser=tags, guided=True, max_tokens=9)
    free, guided = Echo(lambda _: "<q>Why?</q>"), Echo(lambda _: "<q>Why?</q>")
    guided.capabilities = frozenset({"seed", "regex"})
    for engine in (free, guided):
        ((made,),) = outcomes(operator, engine, context, [{"_id": "r", "x": "?"}])
        assert made.row["q"] == "Why?"
    assert free.seen[0].sampling.regex is None
    assert guided.seen[0].sampling == replace(free.seen[0].sampling, regex=operator.parser.readable())
    assert not operator.needs() or "regex" not in operator.needs()["model"], "any engine will do"
    plain = operator.model_copy(update={"guided": False})
    outcomes(plain, guided, context, [{"_id": "r", "x": "?"}])
    assert guided.seen[1].sampling.regex is None
    for wrong, told in (({"parser": {"kind": "text"}}, "has 'text'"), ({"regex": "a+"}, "give one of them")):
        with pytest.raises(ValidationError, match=told):
            Template(**{"model": "base", "template": "{{ x }}", "parser": tags, "guided": True, **wrong})
