"""The tokens that are trained on with each chat template that TRL ships, of which it takes none from us.

``trl_templates.json`` holds, for each template and conversation, the trained text of each sequence, or null
where the template cannot write the conversation, and the tokens at which a server of such a model stops.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from gristmill.contracts.inference import Message
from gristmill.trainer.data.chat import ChatEncoder
from gristmill.trainer.data.chat_template import TemplateOptions
from gristmill.trainer.data.unfit import Unfit

WANTED: dict[str, dict[str, Any]] = json.loads(
    (Path(__file__).parent / "trl_templates.json").read_text(encoding="utf-8")
)
CALL = {"id": "c1", "type": "function", "function": {"name": "lookup", "arguments": {"city": "Ulm"}}}
PLACE = {"type": "string", "description": "x"}
SCHEMA = {"type": "object", "properties": {"city": PLACE}, "required": ["city"]}
TOOLS = [
    {"type": "function", "function": {"name": "lookup", "description": "Weather.", "parameters": SCHEMA}}
]
#: Templates whose prompt as served opens a thought that an answer without one does not have.
OPENED = ("deepseek_r1_distill", "deepseekv3", "nemotron")
#: Templates that write calls, and no tools.
UNTOLD = ("deepseek_r1_distill", "deepseekv3")


def _said(*texts: str) -> list[dict[str, Any]]:
    return [{"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate(texts)]


TALKS: dict[str, list[Any]] = {
    "plain": _said("q1", "a1", "q2", "a2"),
    "thought": _said("q1", "<think>\nhm\n</think>\n\na1", "q2", "<think>\nso\n</think>\n\na2"),
    "reasoning": [
        {"role": "user", "content": "q1"},
        {"role": "assistant", "content": "a1", "reasoning_content": "hm"},
        {"role": "user", "content": "q2"},
        {"role": "assistant", "content": "a2", "reasoning_content": "so"},
    ],
    "calls": [
        {"role": "user", "content": "q1"},
        {"role": "assistant", "content": "", "tool_calls": [CALL]},
        {"role": "tool", "name": "lookup", "tool_call_id": "c1", "content": "12 C"},
        {"role": "assistant", "content": "a2"},
    ],
}


def _folder() -> Path:
    found = find_spec("trl")  # without importing it
    assert found is not None
    assert found.submodule_search_locations
    return Path(found.submodule_search_locations[0]) / "chat_templates"


def template_of(name: str) -> tuple[str, list[str]]:
    """A template of TRL, or a packaged one, and the tokens at which a server of its models stops."""
    if name not in WANTED:
        return name, ["<|im_end|>"]
    return str(_folder() / f"{name}.jinja"), WANTED[name]["stops"]


def test_every_template_of_trl_is_here() -> None:
    assert sorted(WANTED) == sorted(path.stem for path in _folder().glob("*.jinja"))


@pytest.mark.parametrize("name", WANTED)
def test_the_trained_text_is_what_the_model_generates(
    name: str, tmp_path: Path, save_tokenizer: Callable[..., None]
) -> None:
    from transformers import AutoTokenizer

    wanted = WANTED[name]
    stops = wanted["stops"]
    save_tokenizer(tmp_path, end=stops[0], more=[*stops, "<s>"], begin="<s>")
    numbers = AutoTokenizer.from_pretrained(tmp_path).convert_tokens_to_ids(stops)
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": numbers}))
    encoder = ChatEncoder(
        tmp_path, train_on="assistant", options=TemplateOptions(str(_folder() / f"{name}.jinja"))
    )
    for case, talk in TALKS.items():
        tools = TOOLS if case == "calls" else None
        if wanted[case] is None:
            with pytest.raises(Unfit, match="leaves out the call of 'lookup' of turn 2"):
                encoder.encode_turns(talk, tools=tools)
            continue
        if tools and name.startswith(UNTOLD):
            with pytest.raises(Unfit, match="leaves out the tool 'lookup'"):
                encoder.encode_turns(talk, tools=tools)
            tools = None
        sequences = encoder.encode_turns(talk, tools=tools)
        assert [encoder.show(each) for each in sequences] == wanted[case], case
        assert all(each.ids[-1] in encoder.stops for each in sequences)
    _check_served(name, encoder, TALKS["plain"])


def _check_served(name: str, encoder: ChatEncoder, talk: list[Message]) -> None:
    """The tokens before an answer are those that a server sends."""
    turns = [dict(turn) for turn in talk[:-1]]
    served = encoder.tokenizer.encode(encoder.template.render(turns, opening=True), add_special_tokens=False)
    ids = encoder.encode(talk).ids
    assert (list(ids[: len(served)]) == served) != name.startswith(OPENED)


ODD = ('say "hi"', "a\\b", "naïve→ü🙂", "x<y>&z", "it's", "tab\tand\nline", '{"a": "\\u00e9"}', "{{ x }}")
CALLING = [name for name, wanted in WANTED.items() if wanted["calls"] is not None]


def forms(text: str) -> Iterator[str]:
    """How templates write a text inside of an answer: as it is, in JSON, JSON as a text in JSON, or between
    Python's single quotes.
    """
    for quoted in (text.replace("\\", "\\\\"), text):
        yield quoted.replace("'", "\\'").replace("\n", "\\n")
    for _ in range(3):
        yield text
        yield json.dumps(text)[1:-1]
        text = json.dumps(text, ensure_ascii=False)[1:-1]


def talk_with(name: str, city: str) -> tuple[list[Any], list[Any]]:
    """The conversation of ``TALKS["calls"]`` and its tools with another name and argument."""
    call = {**CALL, "function": {"name": name, "arguments": {"city": city}}}
    asked, _, told, answer = TALKS["calls"]
    talk = [asked, {"role": "assistant", "content": "", "tool_calls": [call]}, {**told, "name": name}, answer]
    return talk, [{**TOOLS[0], "function": {**TOOLS[0]["function"], "name": name}}]


def tools_for(template: str, tools: list[Any]) -> list[Any] | None:
    return None if template.startswith(UNTOLD) else tools


@pytest.mark.parametrize("template", [*CALLING, "hermes"])
def test_odd_names_and_arguments_are_trained_on_as_plain_ones_are(
    template: str, tmp_path: Path, save_tokenizer: Callable[..., None]
) -> None:
    """All that differs from the trained text of a plain call is the name and the argument."""
    from transformers import AutoTokenizer

    file, stops = template_of(template)
    save_tokenizer(tmp_path, end=stops[0], more=[*stops, "<s>"], begin="<s>")
    numbers = AutoTokenizer.from_pretrained(tmp_path).convert_tokens_to_ids(stops)
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": numbers}))
    encoder = ChatEncoder(tmp_path, train_on="assistant", options=TemplateOptions(file))
    plain, tools = talk_with("lookup", "Ulm")
    wanted = [encoder.show(each) for each in encoder.encode_turns(plain, tools=tools_for(template, tools))]
    assert "lookup" in "".join(wanted)
    assert "Ulm" in "".join(wanted)
    for odd in ODD:
        for name, city in ((odd, "Ulm"), ("lookup", odd)):
            talk, tools = talk_with(name, city)
            sequences = encoder.encode_turns(talk, tools=tools_for(template, tools))
            found = [encoder.show(each) for each in sequences]
            possible = [
                [text.replace("lookup", one).replace("Ulm", other) for text in wanted]
                for one, other in product(forms(name), forms(city))
            ]
            assert found in possible, (name, city)
