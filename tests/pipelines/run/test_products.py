"""A missing or changed export or adapter is made again, and nothing else is."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file

import gristmill
from gristmill.pipelines.cli.main import main
from gristmill.pipelines.run.serving import ModelTable
from gristmill.pipelines.store.damage import Damaged

from .event_log import Log

PIPELINE = """
gristmill: 1
name: products
models: {{words: {{engine: synthetic}}{models}}}
steps:
  prompts: {{source: constraints, split: train, rows: 24, max_constraints: 1}}
  answers: {{generate: respond, from: prompts, model: words, max_tokens: 40}}
  kept: {{keep: "finish = 'stop'", from: answers}}
  chosen: {{select: random, rows: {rows}, from: kept}}
  dataset: {{export: parquet, from: chosen}}
  lines: {{export: jsonl, from: chosen, path: "{folder}/out/lines.jsonl"}}
  folder: {{export: arrow, from: chosen}}
{more}
"""
EXPORTS = {"dataset", "lines", "folder"}


def run(folder: Path, rows: int = 8, models: str = "", more: str = "") -> tuple[gristmill.Run, Log]:
    file, log = folder / "products.yaml", Log()
    file.write_text(PIPELINE.format(folder=folder, rows=rows, models=models, more=more))
    return gristmill.run(file, folder / "run", observer=log), log


def exports(folder: Path) -> dict[str, bytes]:
    files = [*(folder / "run/exports").rglob("*"), *(folder / "out").glob("*.jsonl")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files if path.is_file()}


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x20
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("path", "step"),
    [
        ("run/exports/dataset/data.parquet", "dataset"),
        ("out/lines.jsonl", "lines"),
        ("run/exports/folder/dataset_info.json", "folder"),
        ("run/exports/folder", "folder"),
        ("run/exports/dataset", "dataset"),
    ],
)
def test_an_export_that_is_gone_or_changed_is_written_again(tmp_path: Path, path: str, step: str) -> None:
    run(tmp_path)
    before = exports(tmp_path)
    if (tmp_path / path).is_dir():
        shutil.rmtree(tmp_path / path)
        _, log = run(tmp_path)
    else:
        flip(tmp_path / path)
        _, log = run(tmp_path)
        assert log.made == [step]
        (tmp_path / path).unlink()
        _, log = run(tmp_path)
    assert log.made == [step]
    assert all(path in text for text in log.notices)
    assert exports(tmp_path) == before
    assert run(tmp_path)[1].made == []


def test_an_export_that_was_edited_is_kept_beside_the_new_one(tmp_path: Path) -> None:
    run(tmp_path)
    lines = tmp_path / "out/lines.jsonl"
    whole = lines.read_bytes()
    lines.write_text("my edits\n")
    _, log = run(tmp_path)
    assert lines.read_bytes() == whole
    assert (tmp_path / "out/lines.jsonl.damaged").read_text() == "my edits\n"
    assert "lines.jsonl.damaged" in log.notices[0]


def test_rounds_that_export_to_one_place_leave_the_last_rounds_rows(tmp_path: Path) -> None:
    loop = "loop: {rounds: 2}"
    made, _ = run(tmp_path, more=loop)
    after = exports(tmp_path)
    assert {row["id"] for row in _rows(tmp_path)} == set(made["chosen@2"].to_arrow()["_id"].to_pylist())
    _, log = run(tmp_path, more=loop)
    assert log.made == log.notices == []
    for path in ("run/exports/dataset/data.parquet", "out/lines.jsonl", "run/exports/folder/README.md"):
        flip(tmp_path / path)
    run(tmp_path, more=loop)
    assert exports(tmp_path) | after == exports(tmp_path)
    assert run(tmp_path, more=loop)[1].made == []


def test_going_back_to_an_earlier_version_of_the_file_brings_its_exports_back(tmp_path: Path) -> None:
    run(tmp_path)
    before = exports(tmp_path)
    run(tmp_path, rows=5)
    assert exports(tmp_path) != before
    _, log = run(tmp_path)
    assert set(log.made) == EXPORTS
    assert before.items() <= exports(tmp_path).items()


def test_a_manifest_that_is_gone_is_written_from_the_parts(tmp_path: Path) -> None:
    made, _ = run(tmp_path)
    before = {name: made[name].store.manifest for name in made}
    for name in made:
        (made[name].store.path / "manifest.json").unlink()
    made, _ = run(tmp_path)
    for name, manifest in before.items():
        again = made[name].store.manifest
        for varying in ("finished", "seconds", "engines"):
            again.pop(varying, None)
            manifest.pop(varying, None)
        assert again == manifest


def _rows(folder: Path) -> list[dict[str, object]]:
    import pyarrow.parquet as pq

    rows: list[dict[str, object]] = pq.read_table(folder / "run/exports/dataset/data.parquet").to_pylist()
    return rows


STUDENT = """  student:
    {train: sft, from: chosen, model: base, epochs: 1, adapter: {kind: lora, rank: 2}, dtype: fp32}
"""


def test_an_adapter_is_the_one_that_was_trained_or_is_trained_again(
    tmp_path: Path, make_model: Callable[..., Path]
) -> None:
    model = make_model(max_position_embeddings=2048)
    more = {"models": f', base: {{engine: transformers, path: "{model}"}}', "more": STUDENT}
    made, _ = run(tmp_path, **more)
    store = made["student"].store
    weights = store.model / "adapter_model.safetensors"
    whole, digest = weights.read_bytes(), store.adapter()[1]
    # Another adapter of the same size.
    tensors = load_file(weights)
    save_file({name: tensor * 2 for name, tensor in tensors.items()}, weights, {"format": "pt"})
    assert weights.stat().st_size == len(whole)
    assert store.complete, "which a look at names and sizes does not tell"
    with pytest.raises(Damaged, match=r"adapter_model\.safetensors is damaged"):
        store.adapter()
    made, log = run(tmp_path, **more)
    assert log.made == ["student"]
    assert weights.read_bytes() == whole
    assert store.adapter()[1] == digest
    # A foreign file, which a loader might read, is moved away without a new training.
    (store.model / "spiece.model").write_text("{}")
    started = (store.model / "adapter_config.json").stat().st_mtime_ns
    run(tmp_path, **more)
    assert not (store.model / "spiece.model").exists()
    assert (store.model / "adapter_config.json").stat().st_mtime_ns == started
    # A lost manifest needs no new training either.
    (store.path / "manifest.json").write_text("{}")
    run(tmp_path, **more)
    assert (store.model / "adapter_config.json").stat().st_mtime_ns == started
    shutil.rmtree(store.model)
    assert not store.complete
    made, log = run(tmp_path, **more)
    assert log.made == ["student"]
    assert weights.read_bytes() == whole


def test_an_adapter_is_looked_at_again_when_it_is_served(
    tmp_path: Path, make_model: Callable[..., Path]
) -> None:
    from gristmill.pipelines.file.load import load
    from gristmill.pipelines.plan.make import make_plan

    model = make_model(max_position_embeddings=2048)
    made, _ = run(tmp_path, models=f', base: {{engine: transformers, path: "{model}"}}', more=STUDENT)
    table = ModelTable(make_plan(load(str(tmp_path / "products.yaml")), file=""), made.directory)
    assert table.weights("student").adapter == made["student"].store.model
    flip(made["student"].store.model / "adapter_model.safetensors")
    with pytest.raises(Damaged, match=r"adapter_model\.safetensors is damaged"):
        table.weights("student")


@pytest.mark.parametrize(
    "path", ["out/lines.jsonl", "lines.jsonl", "exports/lines", "{folder}/a/b.jsonl", None]
)
@pytest.mark.parametrize("absolute", [False, True])
def test_the_place_of_an_export_is_told_as_it_is(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    path: str | None,
    absolute: bool,
) -> None:
    monkeypatch.chdir(tmp_path)
    given = f", path: {path.format(folder=tmp_path)}" if path else ""
    (tmp_path / "p.yaml").write_text(
        "gristmill: 1\nname: places\nsteps:\n  some: {source: count, rows: 3}\n"
        f"  lines: {{export: jsonl, from: some{given}}}\n"
    )
    place = str(tmp_path / "runs/places") if absolute else "runs/places"
    assert main(["run", "p.yaml", "--run", place, "--no-report"]) == 0
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("data ")]
    shown = Path(told[0].removeprefix("data").strip())
    assert len(shown.read_text().splitlines()) == 3
    summary = gristmill.open_run(place).directory.stores()[-1].manifest["summary"]
    assert Path(summary["location"], *summary["files"]) == shown
    assert shown.is_relative_to(place) == (path is None)
