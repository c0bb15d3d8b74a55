from __future__ import annotations

import pytest

from gristmill.pipelines.cli.main import main
from gristmill.pipelines.cli.recipes import first_comment
from gristmill.pipelines.spec.load import load
from gristmill.pipelines.spec.locate import recipes


def test_each_recipe_is_listed_with_its_purpose(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(recipes())
    assert all(len(line.split()) > 3 for line in lines)
    assert "quickstart" in recipes()


@pytest.mark.parametrize("name", list(recipes()))
def test_each_recipe_is_sound_and_found_by_name(name: str) -> None:
    assert load(name).steps


def test_a_recipe_is_printed_to_start_from(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes", "quickstart"]) == 0
    assert capsys.readouterr().out == recipes()["quickstart"].read_text()
    assert main(["recipes", "quickstrt"]) == 2
    assert "did you mean 'quickstart'?" in capsys.readouterr().err


def test_the_purpose_is_the_first_comment() -> None:
    assert first_comment("#\n# From tasks to data.\n# More.\na: 1\n") == "From tasks to data."
    assert first_comment("a: 1\n") == ""
