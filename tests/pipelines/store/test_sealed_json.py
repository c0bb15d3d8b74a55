"""Small JSON files with a seal: a changed file is damage, never another error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gristmill.pipelines.store.damage import Damaged
from gristmill.pipelines.store.seal import read_text, write_text
from gristmill.pipelines.store.sealed_json import SEAL, read_record, write_record

SHAPE = {"seconds": (int, float), "name": str}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(value=st.dictionaries(st.text().filter(lambda key: key != SEAL), JSON, max_size=4))
def test_a_record_reads_back(tmp_path_factory: pytest.TempPathFactory, value: dict[str, Any]) -> None:
    path = tmp_path_factory.mktemp("records") / "record.json"
    write_record(path, value)
    assert read_record(path, {}) == json.loads(json.dumps(value))
    assert json.loads(path.read_text())[SEAL]


def test_no_byte_changes_unseen(tmp_path: Path) -> None:
    path = tmp_path / "clock.json"
    write_record(path, {"seconds": 13.5, "name": "über"})
    data = path.read_bytes()
    for place in range(len(data)):
        for bit in (1, 0x20, 0x80):
            changed = bytearray(data)
            changed[place] ^= bit
            path.write_bytes(changed)
            with pytest.raises(Damaged):
                read_record(path, SHAPE)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "null", "1", '"x"', '{"seconds": 3}', "{", "\0" * 64, "\xff"]
)
def test_other_json_is_damage(tmp_path: Path, text: str) -> None:
    path = tmp_path / "clock.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(Damaged, match=r"clock\.json is damaged"):
        read_record(path, SHAPE)


@pytest.mark.parametrize(
    "value", [{}, {"seconds": "3", "name": "n"}, {"seconds": 3, "name": None}, {"name": "n"}]
)
def test_a_record_of_another_shape_is_damage(tmp_path: Path, value: dict[str, Any]) -> None:
    path = tmp_path / "clock.json"
    write_record(path, value)
    with pytest.raises(Damaged, match=r"'(seconds|name)'"):
        read_record(path, SHAPE)


@pytest.mark.parametrize("comment", [("# ", ""), ("<!-- ", " -->")])
def test_a_text_carries_its_seal_in_its_last_line(tmp_path: Path, comment: tuple[str, str]) -> None:
    path = tmp_path / "text"
    write_text(path, "name: a\ndigest of this file: my own words\n", comment)
    assert read_text(path, comment) == "name: a\ndigest of this file: my own words\n"
    assert path.read_text().splitlines()[-1].startswith(f"{comment[0]}digest of this file: ")
    data = path.read_bytes()
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 1
        path.write_bytes(changed)
        with pytest.raises(Damaged):
            read_text(path, comment)
