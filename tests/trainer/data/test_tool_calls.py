"""Conversations with tools, and content in parts: what the template writes is trained on, or refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from gristmill.contracts.rows import messages_of
from gristmill.trainer.data.chat import ChatEncoder, TrainOn
from gristmill.trainer.data.encode import encode_rows
from gristmill.trainer.data.examples import Example
from gristmill.trainer.data.unfit import Unfit
from gristmill.trainer.losses.pairs import PairObjective
from gristmill.trainer.losses.token_loss import TokenObjective, cross_entropy

#: Writes tools, calls (their arguments as an object) and parts.
CALLING = (
    "{% if tools %}<|start|>tools {{ tools | tojson }}<|end|>\n{% endif %}"
    "{% for m in messages %}<|start|>{{ m.role }}\n"
    "{% if m.content is string %}{{ m.content }}{% else %}{{ m.content | map(attribute='text') | join }}"
    "{% endif %}"
    "{% for call in m.tool_calls %}<call>{{ call.function.name }}"
    "{% for name, value in call.function.arguments.items() %} {{ name }}={{ value }}{% endfor %}{% endfor %}"
    "<|end|>\n{% endfor %}{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
)
CALL = {"id": "c1", "type": "function", "function": {"name": "lookup", "arguments": {"city": "Ulm"}}}
TOOLS = [{"type": "function", "function": {"name": "lookup", "parameters": {"type": "object"}}}]
TALK: list[Any] = [
    {"role": "user", "content": "weather?"},
    {"role": "assistant", "content": "", "tool_calls": [CALL]},
    {"role": "tool", "content": "12 C", "tool_call_id": "c1"},
    {"role": "assistant", "content": "12 degrees"},
]


@pytest.fixture
def encoder(tmp_path: Path, save_tokenizer: Callable[..., None]) -> ChatEncoder:
    save_tokenizer(tmp_path, template=CALLING)
    return ChatEncoder(tmp_path, train_on="assistant")


def test_calls_are_trained_on_and_the_turns_of_tools_are_not(encoder: ChatEncoder) -> None:
    found = encoder.encode(TALK, tools=TOOLS)
    assert encoder.show(found) == "<call>lookup city=Ulm<|end|>12 degrees<|end|>"
    whole = encoder.tokenizer.decode(found.ids)
    assert whole.startswith('<|start|>tools [{"type": "function"')
    assert "<|start|>tool\n12 C<|end|>" in whole


@pytest.mark.parametrize(
    "call",
    [
        {"id": "c1", "type": "function", "function": {"name": "lookup", "arguments": '{"city": "Ulm"}'}},
        {"name": "lookup", "arguments": {"city": "Ulm"}},
    ],
)
def test_a_call_may_be_written_in_any_of_its_usual_forms(call: dict[str, Any], encoder: ChatEncoder) -> None:
    talk = [TALK[0], {"role": "assistant", "content": None, "tool_calls": [call]}]
    assert encoder.show(encoder.encode(talk)) == "<call>lookup city=Ulm<|end|>"
    older = {"role": "assistant", "function_call": {"name": "lookup", "arguments": '{"city": "Ulm"}'}}
    assert encoder.encode([TALK[0], older]) == encoder.encode(talk)


def test_a_template_that_takes_arguments_as_text_gets_text(
    tmp_path: Path, save_tokenizer: Callable[..., None]
) -> None:
    """DeepSeek's takes no object, and writes the calls of a turn only where its content is null."""
    arguments = "{% for name, value in call.function.arguments.items() %} {{ name }}={{ value }}{% endfor %}"
    template = CALLING.replace(arguments, "{{ ' ' + call.function.arguments }}")
    template = template.replace("in m.tool_calls %}", "in m.tool_calls if m.content is none %}")
    template = template.replace(
        "{% if m.content is string %}", "{% if m.content is string or not m.content %}"
    )
    template = template.replace("{{ m.content }}{% else", "{{ m.content or '' }}{% else")
    save_tokenizer(tmp_path, template=template)
    encoder = ChatEncoder(tmp_path)
    assert encoder.show(encoder.encode(TALK[:2])) == '<call>lookup {"city": "Ulm"}<|end|>'


def test_calls_through_arrow_lose_nothing_and_gain_no_nulls(encoder: ChatEncoder) -> None:
    """A column's objects have all keys of the column. Turns whose keys differ too much are JSON text."""
    others = [
        TALK[0],
        {**TALK[1], "tool_calls": [{**CALL, "function": {"name": "f", "arguments": {"unit": 1}}}]},
    ]
    table = pa.table({"_id": ["a", "b"], "messages": [TALK, others], "tools": [TOOLS, None]})
    objective = TokenObjective(cross_entropy)
    rows = table.to_pylist()
    assert rows[0]["messages"][1]["tool_calls"][0]["function"]["arguments"] == {"city": "Ulm", "unit": None}
    found = encode_rows(rows, objective.encode, encoder, max_length=999, vocabulary=258).examples
    assert found[0].sequences == tuple(encoder.encode_turns(TALK, tools=TOOLS))
    assert encoder.show(found[1].sequences[0]) == "<call>f unit=1<|end|>"
    as_text = {"_id": "a", "messages": json.dumps(TALK), "tools": json.dumps(TOOLS)}
    assert objective.encode(as_text, encoder) == found[0].__class__("a", found[0].sequences, apart=True)


def test_a_null_argument_in_json_text_stays(encoder: ChatEncoder) -> None:
    call = {"name": "lookup", "arguments": {"city": None}}
    row = {"messages": json.dumps([TALK[0], {"role": "assistant", "content": "", "tool_calls": [call]}])}
    assert encoder.show(encoder.encode(messages_of(row))) == "<call>lookup city=None<|end|>"


def test_content_in_parts_is_trained_on_where_the_template_takes_parts(encoder: ChatEncoder) -> None:
    parts = [{"type": "text", "text": "12 "}, {"type": "text", "text": "degrees"}]
    talk = [{"role": "user", "content": parts}, {"role": "assistant", "content": parts}]
    plain = [{"role": "user", "content": "12 degrees"}, {"role": "assistant", "content": "12 degrees"}]
    assert encoder.encode(talk) == encoder.encode(plain)  # type: ignore[arg-type]


def test_a_template_that_only_takes_parts_gets_texts_as_parts(
    tmp_path: Path, save_tokenizer: Callable[..., None]
) -> None:
    template = CALLING.replace("{% if m.content is string %}{{ m.content }}{% else %}", "{% if true %}")
    save_tokenizer(tmp_path, template=template)
    encoder = ChatEncoder(tmp_path)
    assert encoder.show(encoder.encode([TALK[0], TALK[3]])) == "12 degrees<|end|>"


@pytest.mark.parametrize(
    ("talk", "reason", "said"),
    [
        (TALK, "left out by the chat template", "leaves out the call of 'lookup' of turn 2"),
        (TALK[:2], "left out by the chat template", "leaves out the call of 'lookup' of turn 2"),
        (
            [{"role": "user", "content": [{"type": "text", "text": "q"}]}, TALK[3]],
            "refused by the chat template",
            'can only concatenate str (not "list") to str',
        ),
        (
            [{"role": "user", "content": [{"type": "image"}]}, TALK[3]],
            "no conversation",
            "a part of type 'image': only texts",
        ),
        ([TALK[0], {"role": "assistant", "tool_calls": [{}]}], "no conversation", "no function with a name"),
        (
            [TALK[0], {"role": "assistant", "tool_calls": [{"name": "f", "arguments": "{"}]}],
            "no conversation",
            "the arguments of 'f' are text that is not JSON",
        ),
        (
            [TALK[0], TALK[2], TALK[3]],
            "left out by the chat template",
            "leaves out the text of turn 2 (tool)",
        ),
    ],
)
def test_what_a_template_does_not_write_is_refused(
    talk: list[Any], reason: str, said: str, tmp_path: Path, save_tokenizer: Callable[..., None]
) -> None:
    save_tokenizer(
        tmp_path,
        template="{% for m in messages if m.role != 'tool' %}{{ '<|start|>' + m.role + '\n' + m.content + "
        "'<|end|>\n' }}{% endfor %}{% if add_generation_prompt %}<|start|>assistant\n{% endif %}",
    )
    with pytest.raises(Unfit) as found:
        ChatEncoder(tmp_path, train_on="assistant").encode(talk)
    assert said in str(found.value)
    assert found.value.reason == reason


@pytest.mark.parametrize("train_on", ["last", "assistant", "user", "all"])
def test_tools_that_a_template_does_not_write_make_the_row_unfit(
    train_on: TrainOn, tmp_path: Path, save_tokenizer: Callable[..., None]
) -> None:
    """The calls of the conversation have their names, too."""
    save_tokenizer(tmp_path, template=CALLING.partition("{% endif %}")[2])
    encoder = ChatEncoder(tmp_path, train_on=train_on)
    assert "lookup" in encoder.tokenizer.decode(encoder.encode(TALK).ids) or train_on == "user"
    for encode in (encoder.encode, encoder.opening, encoder.whole):
        with pytest.raises(Unfit, match="leaves out the tool 'lookup': give another chat_template") as found:
            encode(TALK, tools=TOOLS)
        assert found.value.reason == "left out by the chat template"


def test_each_tool_must_be_written(
    encoder: ChatEncoder, tmp_path: Path, save_tokenizer: Callable[..., None]
) -> None:
    tools = [*TOOLS, {"name": "bare", "parameters": {"type": "object"}}]
    assert '"name": "bare"' in encoder.tokenizer.decode(encoder.encode(TALK, tools=tools).ids)
    written = "tools | selectattr('function') | list | tojson"
    save_tokenizer(tmp_path, template=CALLING.replace("tools | tojson", written))
    encoder = ChatEncoder(tmp_path)
    assert encoder.encode(TALK, tools=TOOLS)
    with pytest.raises(Unfit, match="leaves out the tool 'bare'"):
        encoder.encode(TALK, tools=tools)


@pytest.mark.parametrize(
    ("cut", "said"),
    [("{{ call.function.name | e }}", "the call of"), ("{{ value | e }}", "the arguments of")],
)
@pytest.mark.parametrize("turns", [2, 4])
def test_a_call_without_its_name_or_its_arguments_is_refused(
    cut: str, said: str, turns: int, tmp_path: Path, save_tokenizer: Callable[..., None]
) -> None:
    """One that the template writes escaped in its own way is trained on."""
    template = CALLING.replace("{{ call.function.name }}", "{{ call.function.name | e }}")
    template = template.replace("{{ value }}", "{{ value | e }}")
    function = {"name": 'look "up"', "arguments": {"city": "<Ulm>"}}
    talk = [TALK[0], {**TALK[1], "tool_calls": [{**CALL, "function": function}]}, *TALK[2:]][:turns]
    save_tokenizer(tmp_path, template=template)
    found = ChatEncoder(tmp_path).encode(talk)
    assert "<call>look &#34;up&#34; city=&lt;Ulm&gt;<|end|>" in ChatEncoder(tmp_path).tokenizer.decode(
        found.ids
    )
    save_tokenizer(tmp_path, template=template.replace(cut, ""))
    with pytest.raises(Unfit, match=f"leaves out {said} 'look \"up\"' of turn 2"):
        ChatEncoder(tmp_path).encode(talk)


@pytest.mark.parametrize(
    "error", ["raise_exception('no tools here')", "1 // 0", "messages[99].content.strip()"]
)
def test_whatever_a_template_raises_is_said_of_the_row(
    error: str, tmp_path: Path, save_tokenizer: Callable[..., None]
) -> None:
    raising = f"{{% if messages[0].content == 'weather?' %}}{{{{ {error} }}}}{{% endif %}}"
    save_tokenizer(tmp_path, template=raising + CALLING)
    with pytest.raises(Unfit, match=r"chat template does not take these turns: \w"):
        ChatEncoder(tmp_path).encode(TALK)


def test_a_pair_may_differ_in_its_calls_and_be_json_text(encoder: ChatEncoder) -> None:
    objective = PairObjective(lambda chosen, rejected: (chosen.log_probs, rejected.log_probs))
    row = {
        "_id": "a",
        "prompt": "weather?",
        "chosen": json.dumps([TALK[1]]),
        "rejected": [{"role": "assistant", "content": "no idea"}],
        "tools": TOOLS,
    }
    found: Example = objective.encode(row, encoder)
    assert [encoder.show(each) for each in found.sequences] == [
        "<call>lookup city=Ulm<|end|>",
        "no idea<|end|>",
    ]
    plain = {**row, "prompt": '["not turns"]', "chosen": '[{"a": 1}]'}
    assert encoder.show(objective.encode(plain, encoder).sequences[0]) == '[{"a": 1}]<|end|>'
