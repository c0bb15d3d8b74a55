"""The catalogue names files and tests that are there, and a row that does not is found."""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAD = "| method | what runs it | test of the mechanism | reported by its authors |\n|---|---|---|---|\n"
GOOD = "| **DPO** | `train: dpo` (`trainer/dpo.py`) | `tests/test_dpo.py`: the loss | – |\n"


@pytest.fixture(scope="module")
def catalogue():
    spec = spec_from_file_location("check_catalogue", ROOT / "docs" / "check_catalogue.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("trainer/dpo.py", "tests/test_dpo.py", "pipelines/recipes/magpie.yaml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_the_catalogue_holds(catalogue) -> None:
    text = (ROOT / "docs" / "catalogue.md").read_text()
    assert text.count("\n| **") > 60
    assert list(catalogue.problems(text, ROOT)) == []


@pytest.mark.parametrize(
    "more",
    [
        "",
        "| **SimPO** | `train: simpo` | the same file | – |\n",
        "| **Magpie** | `magpie.yaml --set vars.seeds=FILE.jsonl` | the recipe's test | – |\n",
    ],
)
def test_rows_that_hold(catalogue, root: Path, more: str) -> None:
    assert list(catalogue.problems(HEAD + GOOD + more, root)) == []


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (
            "| **X** | `train: x` (`trainer/gone.py`) | the same file | – |",
            "there is no file trainer/gone.py",
        ),
        ("| **X** | `gone.yaml` | the same file | – |", "there is no file pipelines/recipes/gone.yaml"),
        ("| **X** | `train: x` | `tests/test_gone.py` | – |", "there is no file tests/test_gone.py"),
        ("| **X** | `train: x` | – | – |", "names no test"),
        ("| **X** | `train: x` | `trainer/dpo.py` | – |", "names no test"),
        ("| **X** | to come | the same file | – |", "names nothing that runs it"),
        ("| X | `train: x` | the same file | – |", "not named in bold"),
        ("| **X** | `train: x` | the same file |", "3 cells in a row of 4"),
    ],
)
def test_rows_that_do_not(catalogue, root: Path, row: str, told: str) -> None:
    [(line, found)] = catalogue.problems(f"{HEAD}{GOOD}{row}\n", root)
    assert line == 4
    assert told in found


def test_a_test_is_not_taken_from_another_section(catalogue, root: Path) -> None:
    text = f"{HEAD}{GOOD}\n## Another\n\n{HEAD}| **X** | `train: x` | the same file | – |\n"
    [(line, found)] = catalogue.problems(text, root)
    assert (line, "names no test" in found) == (9, True)


def test_every_method_has_a_row_under_its_name(catalogue, capsys) -> None:
    assert len((ROOT / catalogue.METHODS).read_text().split("\n")) > 140
    assert catalogue.main() == 0, capsys.readouterr().out


@pytest.mark.parametrize(
    "row", ["| **Lion**: signs | x |", "| **dpo, LION** | x |", "| Lion's moments | x |"]
)
def test_a_name_is_found_in_a_row_that_has_it(catalogue, row: str) -> None:
    assert list(catalogue.unnamed(["Lion"], row)) == []


@pytest.mark.parametrize("row", ["| **a million** | x |", "| **DPO** | Lion |", "**Lion** | x |", ""])
def test_a_name_is_not_found_elsewhere(catalogue, row: str) -> None:
    [(line, told)] = catalogue.unnamed(["Lion"], row)
    assert line == 1
    assert told.endswith("is named Lion")


def test_a_method_without_a_row_is_reported(catalogue, tmp_path: Path, monkeypatch, capsys) -> None:
    methods = tmp_path / "methods.txt"
    methods.write_text("DPO\nA method of nobody\n")
    monkeypatch.setattr(catalogue, "METHODS", methods)
    assert catalogue.main() == 1
    [told] = capsys.readouterr().out.splitlines()
    assert f"{methods}:2:" in told
    assert told.endswith("is named A method of nobody")
