from __future__ import annotations

import errno
import json
import os
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gristmill.contracts import durable
from gristmill.contracts.errors import DataError
from gristmill.contracts.outcomes import TableResult
from gristmill.contracts.stored_rows import TableRows
from gristmill.filters.dedup import sketch_index
from gristmill.filters.dedup.minhash import MinHashDedup

from .stored import BatchedRows


def passage(seed: int, edited: int = 0) -> str:
    """Sixty random words, the first ``edited`` of them changed."""
    draw = random.Random(seed)
    words = [f"w{draw.randrange(3000)}" for _ in range(60)]
    return " ".join([*["changed"] * edited, *words[edited:]])


def judged(
    texts: dict[str, str | None], op: MinHashDedup, context: Any, size: int | None = None
) -> TableResult:
    table = pa.table({"_id": list(texts), "response": pa.array(list(texts.values()), pa.string())})
    return op.judge(TableRows(table) if size is None else BatchedRows(table, size), context)


@pytest.fixture
def october(tmp_path: Path, context: Any) -> Path:
    """An index of the passages 0 to 9."""
    folder = tmp_path / "index"
    judged({f"o{n}": passage(n) for n in range(10)}, MinHashDedup(against=folder, extend="october"), context)
    return folder


def test_rows_are_compared_with_those_of_earlier_runs(october: Path, context: Any) -> None:
    november = {"n0": passage(3, edited=2), "n1": passage(50), "n2": passage(50, edited=1), "n3": passage(4)}
    for clusters in ("components", "greedy"):
        op = MinHashDedup(against=october, clusters=clusters)
        result = judged(november, op, context)
        assert list(result.duplicate_of) == ["o3", None, "n1", "o4"]
        assert result.kept.tolist() == [False, True, False, False]
        # Two changed words at the start replace two of 58 shingles.
        assert result.score[0] == pytest.approx(56 / 60)
        assert result.score[3] == 1.0
        assert result.summary["in_index"] == 2
    judged(november, MinHashDedup(against=october, extend="november"), context)
    result = judged({"d0": passage(50), "d1": passage(51)}, MinHashDedup(against=october), context)
    assert list(result.duplicate_of) == ["n1", None]


def test_a_step_that_runs_again_does_not_find_its_own_rows(october: Path, context: Any) -> None:
    op = MinHashDedup(against=october, extend="november")
    rows = {"n0": passage(3), "n1": passage(50)}
    before = op.content()
    first = judged(rows, op, context)
    files = sorted(path.name for path in october.iterdir())
    assert op.content() == before
    again = judged(rows, op, context)
    assert list(again.duplicate_of) == list(first.duplicate_of) == ["o3", None]
    judged({"d0": passage(60)}, MinHashDedup(against=october, extend="december"), context)
    assert op.content() == before
    assert list(judged(rows, op, context).duplicate_of) == ["o3", None]
    assert len(list(october.glob("*.parquet"))) == 3
    assert {*files} <= {path.name for path in october.iterdir()}


def test_the_fingerprint_follows_what_is_compared(october: Path, context: Any) -> None:
    reader = MinHashDedup(against=october)
    before = reader.content()
    judged({"n0": passage(70)}, MinHashDedup(against=october, extend="november"), context)
    assert reader.content() != before
    assert MinHashDedup().content() == {}


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 12), max_size=12), st.integers(0, 12), st.integers(1, 5))
def test_batch_after_batch_keeps_what_one_batch_keeps(
    tmp_path_factory: Any, context: Any, seeds: list[int], cut: int, size: int
) -> None:
    """Greedy, in order: the survivors do not depend on where the rows are cut in batches."""
    rows = {f"r{place}": passage(seed // 2, edited=seed % 2) for place, seed in enumerate(seeds)}
    names = list(rows)
    whole = judged(rows, MinHashDedup(clusters="greedy"), context)
    folder = tmp_path_factory.mktemp("index") / "index"
    found: list[Any] = []
    for month, part in enumerate((names[:cut], names[cut:])):
        op = MinHashDedup(clusters="greedy", against=folder, extend=f"m{month}")
        result = judged({name: rows[name] for name in part}, op, context, size)
        found += [_named(of, part) for of in list(result.duplicate_of)]
    assert found == [names[of] if of >= 0 else None for of in whole.duplicate_of.tolist()]


def _named(of: Any, names: list[str]) -> str | None:
    if of is None or isinstance(of, str):
        return of
    return names[of] if of >= 0 else None


def test_other_rows_under_the_same_name_are_refused(october: Path, context: Any) -> None:
    with pytest.raises(DataError, match=r"rows named 'october' already.*another name"):
        judged({"x": passage(99)}, MinHashDedup(against=october, extend="october"), context)
    assert len(list(october.glob("*.parquet"))) == 1


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"threshold": 0.9}, "threshold 0.7.*this step has threshold 0.9"),
        ({"ngram": 2}, "ngram 3.*ngram 2"),
        ({"shingles": "characters"}, "shingles words.*shingles characters"),
        ({"permutations": 512}, "rows_per_band.*rows_per_band"),
        ({"columns": ("answer",)}, r"columns \[response\]; this step has columns \[answer\]"),
    ],
)
def test_an_index_of_other_parameters_is_refused(october: Path, parameters: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        MinHashDedup(against=october, **parameters).content()


def test_a_missing_index_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no index in .*extend: NAME"):
        MinHashDedup(against=tmp_path / "none").content()


@pytest.mark.parametrize("damage", [b"", b"not parquet", None])
def test_a_damaged_file_is_told(october: Path, context: Any, damage: bytes | None) -> None:
    (file,) = october.glob("*.parquet")
    if damage is None:
        file.unlink()
    else:
        file.write_bytes(damage)
    with pytest.raises(DataError, match=r"index .* is damaged: october-.*Restore it"):
        judged({"n": passage(1)}, MinHashDedup(against=october), context)


def test_a_changed_file_is_told(october: Path, context: Any) -> None:
    """Another file that can be read, of the same columns."""
    (file,) = october.glob("*.parquet")
    pq.write_table(pq.read_table(file).slice(1), file)
    with pytest.raises(DataError, match=r"is damaged: october-.* is not what was written"):
        judged({"n": passage(1)}, MinHashDedup(against=october), context)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"format": 1}', '{"format": 9, "parameters": {}, "generations": []}']
)
def test_a_damaged_manifest_is_told(october: Path, text: str) -> None:
    (october / "index.json").write_text(text)
    with pytest.raises(DataError, match=r"is damaged|has format 9"):
        MinHashDedup(against=october).content()


@pytest.mark.parametrize(
    "changed",
    [
        {"parameters": None},
        {"parameters": [1]},
        {"generations": [5]},
        {"generations": [{"name": "a", "file": 5, "rows": 1, "sha256": "x", "rows_of": "y"}]},
    ],
)
def test_a_manifest_of_other_types_is_told(october: Path, changed: dict[str, Any]) -> None:
    path = october / "index.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))
    with pytest.raises(DataError, match=r"index\.json cannot be read"):
        MinHashDedup(against=october).content()


def test_an_index_that_cannot_be_written_is_told(tmp_path: Path, context: Any, monkeypatch: Any) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(DataError, match="file is not a folder"):
        MinHashDedup(against=tmp_path / "file", extend="a").content()
    with pytest.raises(DataError, match=r"cannot write the index .*: No such file or directory"):
        judged({"n": passage(1)}, MinHashDedup(against=Path("/proc/none"), extend="a"), context)

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(durable, "replace", full)
    with pytest.raises(DataError, match=r"cannot write the index .*: No space left on device. Make room"):
        judged({"n": passage(1)}, MinHashDedup(against=tmp_path / "index", extend="a"), context)
    assert not list((tmp_path / "index").glob("*.parquet"))


def test_a_manifest_that_is_gone_is_not_a_new_index(october: Path) -> None:
    (october / "index.json").unlink()
    with pytest.raises(DataError, match=r"index\.json"):
        MinHashDedup(against=october, extend="november").content()


def test_a_kill_leaves_the_old_index(october: Path, context: Any, monkeypatch: Any) -> None:
    """At each step of writing: the index can be read, and the run that comes again extends it."""
    manifest = (october / "index.json").read_text()
    op, rows = MinHashDedup(against=october, extend="november"), {"n": passage(80)}
    replace = durable.replace
    for target in ("november", "index.json"):

        def killed(source: Path, to: Path, target: str = target) -> None:
            if to.name.startswith(target):
                raise KeyboardInterrupt
            replace(source, to)

        monkeypatch.setattr(durable, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            judged(rows, op, context)
        assert (october / "index.json").read_text() == manifest
        assert list(judged({"x": passage(2)}, MinHashDedup(against=october), context).duplicate_of) == ["o2"]
    monkeypatch.undo()
    judged(rows, op, context)
    assert [each["name"] for each in json.loads((october / "index.json").read_text())["generations"]] == [
        "october",
        "november",
    ]


def test_an_index_that_changed_meanwhile_is_not_extended(
    october: Path, context: Any, monkeypatch: Any
) -> None:
    write = sketch_index.SketchIndex._write

    def slow(self: Any, *arguments: Any) -> Any:
        monkeypatch.setattr(sketch_index.SketchIndex, "_write", write)
        judged({"a": passage(91)}, MinHashDedup(against=october, extend="other"), context)
        return write(self, *arguments)

    monkeypatch.setattr(sketch_index.SketchIndex, "_write", slow)
    with pytest.raises(DataError, match="another run extended it"):
        judged({"b": passage(92)}, MinHashDedup(against=october, extend="november"), context)
    assert len(json.loads((october / "index.json").read_text())["generations"]) == 2


def test_a_survivor_in_the_index_is_scored_though_it_is_only_near_a_neighbor(
    tmp_path: Path, context: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr("gristmill.filters.dedup.minhash.choose_bands", lambda *_: (128, 1))
    op = {"ngram": 1, "threshold": 0.6, "against": tmp_path / "index"}
    judged({"old": "a b c d"}, MinHashDedup(**op, extend="old"), context)
    result = judged({"x": "a b c d e", "y": "b c d e f"}, MinHashDedup(**op), context)
    assert list(result.duplicate_of) == ["old", "old"]
    assert result.score.tolist() == [0.8, 0.5]


def test_an_empty_batch_and_an_index_of_nothing(tmp_path: Path, context: Any) -> None:
    folder = tmp_path / "index"
    judged({}, MinHashDedup(against=folder, extend="nothing"), context)
    assert judged({"a": passage(1)}, MinHashDedup(against=folder, extend="one"), context).kept.all()
    assert len(judged({}, MinHashDedup(against=folder), context).kept) == 0
