"""The stored vectors of texts: found by content, written whole, and made again if damaged."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gristmill.pipelines.store.damage import Damaged
from gristmill.pipelines.store.key_index import KeyIndex, as_keys, keys_of
from gristmill.pipelines.store.vectors import VectorStore, chunks, damages, remove_remains


def vectors(count: int, dimensions: int = 3, start: float = 0.0) -> np.ndarray:
    return np.arange(count * dimensions, dtype=np.float32).reshape(count, dimensions) + np.float32(start)


def filled(run: Path, model: str = "model") -> VectorStore:
    store = VectorStore(run, model)
    store.add(keys_of(["a", "b", "c"]), vectors(3))
    store.add(keys_of(["d", "e"]), vectors(2, start=100))
    return store


def test_vectors_are_found_by_text_in_this_process_and_the_next(tmp_path: Path) -> None:
    first = filled(tmp_path)
    second = VectorStore(tmp_path, "model")
    second.refresh()
    for store in (first, second):
        places = store.find(keys_of(["e", "a", "nothing", "a"]))
        assert places[2] == -1
        np.testing.assert_array_equal(store.take(places[[0, 1, 3]]), [[103, 104, 105], [0, 1, 2], [0, 1, 2]])
        assert (len(store), store.dimensions) == (5, 3)


def test_models_are_apart(tmp_path: Path) -> None:
    filled(tmp_path)
    other = VectorStore(tmp_path, "other")
    other.refresh()
    assert other.find(keys_of(["a"])).tolist() == [-1]


@given(st.lists(st.lists(st.integers(0, 40), max_size=12), max_size=8), st.integers(0, 2**64 - 1))
def test_the_index_is_a_dictionary_that_keeps_the_first(batches: list[list[int]], half: int) -> None:
    """Also where the first halves of keys are equal."""
    index, known, place = KeyIndex(), {}, 0
    for batch in batches:
        keys = np.array([[half, number] for number in batch], dtype=np.uint64).reshape(-1, 2)
        index.add(keys, np.arange(place, place + len(batch)))
        for number in batch:
            known.setdefault(number, place)
            place += 1
    asked = np.array([[half, number] for number in range(-1, 42) if number >= 0], dtype=np.uint64)
    assert index.find(asked).tolist() == [known.get(number, -1) for number in range(42)]


def test_keys_are_of_the_whole_text() -> None:
    texts = ["", "a", "b", "a\0", "é", "\ud800"]
    assert len({tuple(key) for key in keys_of(texts).tolist()}) == len(texts)
    assert as_keys(keys_of(texts).tobytes()).tolist() == keys_of(texts).tolist()


@pytest.mark.parametrize("cut", ["short", "changed", "empty"])
def test_a_damaged_chunk_is_named(tmp_path: Path, cut: str) -> None:
    filled(tmp_path)
    path = chunks(tmp_path / "embeddings" / "model")[0]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes({"short": data[:-9], "changed": data, "empty": b""}[cut])
    with pytest.raises(Damaged) as caught:
        VectorStore(tmp_path, "model").refresh()
    assert caught.value.path == path
    assert [each.path for each in damages(tmp_path)] == [path]


def test_chunks_of_other_dimensions_are_damage(tmp_path: Path) -> None:
    filled(tmp_path)
    other = VectorStore(tmp_path, "model")
    other.add(keys_of(["x"]), vectors(1, dimensions=4))
    with pytest.raises(Damaged, match="dimensions"):
        VectorStore(tmp_path, "model").refresh()


def test_a_folder_that_is_a_link_is_damage(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "embeddings").symlink_to(tmp_path / "elsewhere")
    assert [each.path.name for each in damages(tmp_path)] == ["embeddings"]
    remove_remains(tmp_path)


def test_remains_of_a_killed_write_are_removed_and_never_read(tmp_path: Path) -> None:
    store = filled(tmp_path)
    remains = store.path / "chunk-00.arrow.1234.writing"
    remains.write_bytes(b"half")
    fresh = VectorStore(tmp_path, "model")
    fresh.refresh()
    assert len(fresh) == 5
    remove_remains(tmp_path)
    assert not remains.exists()


def test_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    code = (
        "import sys, numpy as np\nfrom pathlib import Path\n"
        "from gristmill.pipelines.store.vectors import VectorStore\n"
        "from gristmill.pipelines.store.key_index import keys_of\n"
        "store = VectorStore(Path(sys.argv[1]), 'model')\n"
        "for part in range(20):\n"
        "    texts = [f'{part} {i}' for i in range(8)]\n"
        "    store.add(keys_of(texts), np.full((8, 2), part, np.float32))\n"
    )
    command = [sys.executable, "-P", "-c", code, str(tmp_path)]
    writers = [subprocess.Popen(command) for _ in range(2)]
    assert [writer.wait(600) for writer in writers] == [0, 0]
    assert list(damages(tmp_path)) == []
    store = VectorStore(tmp_path, "model")
    store.refresh()
    assert len(store) == 160
    found = store.take(store.find(keys_of([f"{part} 3" for part in range(20)])))
    np.testing.assert_array_equal(found[:, 0], np.arange(20))
