"""Finding prompts: by name, path or text; their versions and digests."""

from __future__ import annotations

from pathlib import Path

import pytest
from jinja2 import meta

from gristmill.contracts.errors import DataError
from gristmill.datagen.prompts import find_prompt, packaged
from gristmill.datagen.prompts.environment import PromptEnvironment

#: Values of columns that are not free text; all others are the text PROBE.
SHAPED = {"examples": [{"prompt": "PROBE", "skill": "PROBE"}], "topics": ["PROBE"], "count": 3}
DRAWN = {
    "biased_solution": {"bias": "length"},
    "code_task": {"level": "easy"},
    "document_question": {"kinds": {"fact": "PROBE"}, "kind": "fact", "depths": {"one": "x"}, "depth": "one"},
    "edit_flawed": {"area": "bugs", "level": "class"},
    "passage_query": {"kinds": {"words": "PROBE"}, "kind": "words"},
    "wave_task": {"task": "repair"},
}


@pytest.mark.parametrize("name", packaged())
def test_every_packaged_prompt_has_a_version_and_renders(name: str) -> None:
    prompt = find_prompt(name)
    assert prompt.version >= 1
    environment = PromptEnvironment()
    used = meta.find_undeclared_variables(environment.parse(prompt.source)) - set(environment.globals)
    row = {column: SHAPED.get(column, "PROBE") for column in used}
    text = prompt.renderer()({**row, **DRAWN.get(name, {})})
    assert "PROBE" in text
    assert "version:" not in text
    assert not text.startswith("\n")


def test_a_file_and_a_text_are_prompts(tmp_path: Path) -> None:
    (tmp_path / "mine.jinja").write_text("{# version: 3 #}\nSay {{ word }}.\n")
    prompt = find_prompt(str(tmp_path / "mine.jinja"))
    assert prompt.version == 3
    assert prompt.renderer()({"word": "hi"}) == "Say hi."
    assert find_prompt("Say {{ word }}.").renderer()({"word": "hi"}) == "Say hi."


def test_the_digest_follows_every_character(tmp_path: Path) -> None:
    file = tmp_path / "mine.jinja"
    digests = set()
    for text in (
        "{# version: 1 #}Say {{ word }}.",
        "{# version: 2 #}Say {{ word }}.",
        "{# version: 2 #}Say {{ word }}!",
    ):
        file.write_text(text)
        digests.add(find_prompt(str(file)).digest)
    assert len(digests) == 3


def test_a_wrong_name_gets_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="did you mean 'similar_task'"):
        find_prompt("similar_tasks")
    with pytest.raises(DataError, match="cannot be read"):
        find_prompt(str(tmp_path / "none.jinja"))
    with pytest.raises(DataError, match="no prompt of that name"):
        find_prompt("../../../etc/passwd")
