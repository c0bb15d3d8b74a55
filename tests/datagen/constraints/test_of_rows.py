"""Items of IFEval are read as they come, and what cannot be read is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gristmill.contracts.errors import DataError
from gristmill.datagen.constraints.of_rows import checks_of

ITEM = {
    "key": 7,
    "prompt": "Name two birds without a comma.",
    "instruction_id_list": ["punctuation:no_comma", "detectable_format:number_bullet_lists"],
    "kwargs": [{}, {"num_bullets": 2}],
}


def kinds(row: dict[str, Any]) -> list[dict[str, Any]]:
    return [check.arguments() for check in checks_of(row)]


READ = [{"kind": "punctuation:no_comma"}, {"kind": "detectable_format:number_bullet_lists", "num_bullets": 2}]


@pytest.mark.parametrize(
    "parameters",
    [
        [{}, {"num_bullets": 2}],
        [None, {"num_bullets": 2}],
        [{"num_bullets": None, "language": None}, {"num_bullets": 2.0, "language": None}],
        json.dumps([{}, {"num_bullets": 2}]),
    ],
)
def test_an_item_is_read_from_any_table(parameters: Any) -> None:
    assert kinds({**ITEM, "kwargs": parameters}) == READ


def test_a_row_of_ours_is_read_by_its_constraints() -> None:
    assert kinds({**ITEM, "constraints": '[{"kind": "quoted"}]'}) == [{"kind": "quoted"}]
    assert kinds({"constraints": json.dumps(READ)}) == READ


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"kwargs": [{}]}, "found 1 for 2"),
        ({"instruction_id_list": [], "kwargs": []}, "found 0 for 0"),
        ({"kwargs": None}, "column 'kwargs' holds NoneType"),
        ({"kwargs": "{"}, "column 'kwargs' is not JSON text"),
        ({"kwargs": [3, {}]}, "'punctuation:no_comma' has int instead of an object"),
        ({"instruction_id_list": ["shout:loud", "punctuation:no_comma"]}, "unknown instruction 'shout:loud'"),
        ({"kwargs": [{}, {}]}, "num_bullets: is required"),
        ({"kwargs": [{}, {"num_bullets": 2, "kind": "quoted", "x": 1}]}, "x: "),
    ],
)
def test_what_cannot_be_read_is_one_error(changed: dict[str, Any], told: str) -> None:
    with pytest.raises(DataError) as raised:
        checks_of({**ITEM, **changed})
    assert told in str(raised.value)


def test_a_row_without_either_form_is_told_of_both() -> None:
    with pytest.raises(DataError, match=r"column 'constraints' is missing.*'instruction_id_list'"):
        checks_of({"prompt": "Name a bird."})


DATA = Path(__file__).parents[4] / "shared" / "data" / "ifeval_dev.jsonl"


@pytest.mark.skipif(
    not DATA.is_file(),
    reason="the public items of IFEval are not beside this checkout (../shared/data/ifeval_dev.jsonl)",
)
def test_every_real_item_is_read_as_the_source_gives_it(context: Any) -> None:
    import pyarrow as pa

    from gristmill.pipelines.sources.jsonl import Jsonl

    rows = pa.Table.from_batches(Jsonl(path=str(DATA)).read(context)).to_pylist()
    assert len(rows) == 322
    assert [len(checks_of(row)) for row in rows] == [len(row["instruction_id_list"]) for row in rows]
