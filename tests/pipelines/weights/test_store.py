"""What references mean; directories and their digests."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from gristmill.contracts.errors import GristmillError, ModelError
from gristmill.pipelines.weights import (
    PACKAGED,
    adapter_digest,
    cached,
    digest,
    exists,
    fetch,
    remove,
    resolve,
)
from gristmill.pipelines.weights.cache import CachedModel, cache_dir, commit, place
from gristmill.pipelines.weights.store import CHANGES
from gristmill.trainer.adapters import own_files
from gristmill.trainer.merging import ternary_files
from gristmill.trainer.sparse import delta_files


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GRISTMILL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "cache"


def model_at(path: Path, value: float = 1.0) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.json").write_text('{"model_type": "llama"}')
    (path / "tokenizer.json").write_text("{}")
    save_file({"weight": np.full(8, value, dtype=np.float32)}, path / "model.safetensors")
    return path


def adapter_at(path: Path, base: str) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    (path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": base}))
    save_file({"lora": np.ones(2, dtype=np.float32)}, path / "adapter_model.safetensors")
    return path


def test_a_packaged_digest_needs_no_download_and_is_its_own() -> None:
    digests = {digest(name) for name in PACKAGED}
    assert len(digests) == len(PACKAGED) == 3
    assert all(len(found) == 64 for found in digests)
    assert not any(exists(name) for name in PACKAGED)
    assert not cache_dir().exists()


def test_a_directory_is_its_own_weights(tmp_path: Path) -> None:
    path = model_at(tmp_path / "mine")
    weights = resolve(str(path))
    assert weights.path == path == fetch(str(path))
    assert weights.adapter is None
    assert weights.digest == digest(str(path))
    assert exists(str(path))


def test_a_relative_path_is_relative_to_the_base(tmp_path: Path) -> None:
    path = model_at(tmp_path / "somewhere" / "mine")
    assert fetch("./mine", base=tmp_path / "somewhere") == path
    assert digest("mine", base=tmp_path / "somewhere") == digest(str(path))
    with pytest.raises(ModelError, match=r"looks like a path and .*elsewhere.* is not there"):
        digest("./mine", base=tmp_path / "elsewhere")


def test_the_digest_follows_the_content_and_not_the_place(tmp_path: Path) -> None:
    first, second = model_at(tmp_path / "a"), model_at(tmp_path / "b")
    before = digest(str(first))
    assert digest(str(second)) == before
    model_at(first, value=2.0)
    after = digest(str(first))
    assert after != before
    (first / "tokenizer.json").write_text('{"version": 2}')
    assert digest(str(first)) not in (before, after)


def test_every_chat_template_is_part_of_a_model(tmp_path: Path) -> None:
    path = model_at(tmp_path / "a")
    found = {digest(str(path))}
    more = path / "additional_chat_templates"
    more.mkdir()
    for file in (path / "chat_template.jinja", more / "tool_use.jinja"):
        for text in ("one", "another"):
            file.write_text(text)
            found.add(digest(str(path)))
    assert len(found) == 5


@pytest.mark.parametrize("name", ["gristmill.json", "notes.md", "optimizer.pt"])
def test_files_that_do_not_decide_what_a_model_computes_are_no_part_of_it(tmp_path: Path, name: str) -> None:
    path = model_at(tmp_path / "a")
    before = digest(str(path))
    (path / name).write_text("{}")
    assert digest(str(path)) == before


def test_a_digest_asked_again_reads_no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = model_at(tmp_path / "a")
    before = digest(str(path))
    plain = Path.open

    def refusing(self: Path, mode: str = "r", *rest: object, **options: object) -> object:
        assert "b" not in mode, f"{self} was read again"
        return plain(self, mode, *rest, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", refusing)
    assert digest(str(path)) == before


def test_an_adapter_stands_over_its_base(tmp_path: Path) -> None:
    base = model_at(tmp_path / "base")
    adapter = adapter_at(tmp_path / "adapter", str(base))
    weights = resolve(str(adapter))
    assert (weights.path, weights.adapter) == (base, adapter)
    assert weights.digest != digest(str(base))
    model_at(base, value=3.0)
    assert digest(str(adapter)) != weights.digest


def test_an_adapters_own_digest_does_not_depend_on_its_base(tmp_path: Path) -> None:
    one = adapter_at(tmp_path / "one", "/not/on/this/machine")
    assert adapter_digest(str(one)) == adapter_digest(
        str(adapter_at(tmp_path / "two", "/not/on/this/machine"))
    )
    save_file({"lora": np.zeros(2, dtype=np.float32)}, tmp_path / "two" / "adapter_model.safetensors")
    assert adapter_digest(str(one)) != adapter_digest(str(tmp_path / "two"))
    with pytest.raises(
        ModelError, match=r"is not an adapter: give a directory that holds adapter_config\.json"
    ):
        adapter_digest(str(model_at(tmp_path / "model")))


def test_an_adapter_without_a_base_is_refused(tmp_path: Path) -> None:
    adapter = adapter_at(tmp_path / "adapter", "")
    with pytest.raises(ModelError, match="does not name its base_model_name_or_path"):
        resolve(str(adapter))


def test_a_directory_that_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"is not a model: it contains neither config\.json"):
        fetch(str(tmp_path / "empty"))
    (tmp_path / "empty" / "config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"holds no \*\.safetensors.*save_pretrained"):
        digest(str(tmp_path / "empty"))


@pytest.mark.parametrize("name", sorted(CHANGES))
def test_what_no_engine_reads_is_told_with_the_command_that_merges_it(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "a student"
    folder.mkdir()
    (folder / name).write_text('{"base_model_name_or_path": "org/base"}')
    for look in (digest, fetch, resolve):
        with pytest.raises(ModelError) as caught:
            look(str(folder))
        told = str(caught.value)
        assert CHANGES[name] in told
        assert f"gristmill merge org/base '{folder}' --out DIR`, and name DIR" in told
    (folder / name).write_text("[]")
    with pytest.raises(ModelError, match="gristmill merge BASE "):
        digest(str(folder))


def test_the_changes_that_no_engine_reads_are_those_that_the_trainer_writes() -> None:
    assert set(CHANGES) == {own_files.CONFIG, delta_files.CONFIG, ternary_files.CONFIG}


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(ModelError, match="did you mean 'smollm2-135m-instruct'"):
        resolve("smollm2-135m-instrct")
    with pytest.raises(ModelError, match=r"unknown model 'zzzz'\. Give one of smollm2-135m-instruct, "):
        exists("zzzz")


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=40))
def test_any_text_is_a_model_or_our_error(text: str) -> None:
    with contextlib.suppress(GristmillError):
        digest(text, base=Path("/nonexistent"))


def test_removing_takes_a_model_out_of_the_cache(tmp_path: Path) -> None:
    target = place("mine", "a" * 64)
    commit(model_at(tmp_path / "made"), CachedModel("mine", target, "a" * 64, "MIT", "here", 10))
    assert [model.name for model in cached()] == ["mine"]
    assert remove("mine")[0].path == target
    assert cached() == []
    assert not target.exists()
    with pytest.raises(ModelError, match="'mine' is not in the cache; it holds: nothing"):
        remove("mine")


def test_importing_the_store_brings_no_framework() -> None:
    code = (
        "import sys, gristmill.pipelines.weights as w; w.digest('smollm2-135m-instruct');"
        "print(sorted({'torch', 'transformers', 'huggingface_hub', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
