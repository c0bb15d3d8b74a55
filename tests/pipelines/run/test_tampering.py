"""A sample of benchmarks/tampering.py: a file of a finished run is damaged, and the next commands recover.

Every kind of file gets a quarter of the damages, in turn, so that each damage is tested on several kinds.
"""

from __future__ import annotations

import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest

from gristmill.pipelines.cli.main import main

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))
import tampering

sys.path.pop(0)

PIPELINE = """
gristmill: 1
name: tampered
models: {words: {engine: synthetic}}
steps:
  prompts: {source: constraints, split: train, rows: 20, max_constraints: 1}
  answers: {generate: respond, from: prompts, model: words, max_tokens: 20}
  kept: {keep: "finish = 'stop'", from: answers}
  chosen: {select: random, rows: 8, from: kept}
  lines: {export: jsonl, from: chosen, path: out/lines.jsonl}
  folder: {export: arrow, from: chosen}
"""
COMMAND = ["run", "tampered.yaml", "--run", "run", "--quiet"]
FILES = {
    "part": "run/steps/answers-*/part-000000000000-*.parquet",
    "part of one": "run/steps/chosen-*/part-*.parquet",
    "manifest of a chain": "run/steps/kept-*/manifest.json",
    "manifest of an export": "run/steps/lines-*/manifest.json",
    "plan": "run/rounds/1/plan.json",
    "result": "run/rounds/1/result.json",
    "run": "run/run.json",
    "clock": "run/clock.json",
    "pipeline file": "run/spec.yaml",
    "export": "out/lines.jsonl",
    "export's record": "run/exports/folder/dataset_info.json",
    "report": "run/report.html",
    "lock": "run/lock",
}
DAMAGES = {name: each for name, each in tampering.DAMAGES.items() if name != "without permission"}


def sample() -> Iterator[tuple[str, str]]:
    for number, file in enumerate(FILES):
        names = [*DAMAGES, *(tampering.JSON if FILES[file].endswith(".json") else ())]
        if file in ("lock", "report"):
            names = [name for name in names if name.startswith("replaced") and "its kind" not in name]
        yield from ((file, name) for name in names[number % 4 :: 4])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("finished")
    (work / "tampered.yaml").write_text(PIPELINE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(work)
        assert main(COMMAND) == 0
    return work


@pytest.fixture(autouse=True)
def no_hang() -> Iterator[None]:
    """A command that waits for a pipe is killed and fails its test."""

    def fail(number: int, frame: FrameType | None) -> None:
        raise TimeoutError("the command hangs")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(300)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize(("file", "damage"), list(sample()))
def test_the_next_commands_name_the_damage_and_mend_it(
    file: str,
    damage: str,
    finished: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    work = tmp_path / "work"
    shutil.copytree(finished, work)
    monkeypatch.chdir(work)
    (path,) = work.glob(FILES[file])
    try:
        {**DAMAGES, **tampering.JSON}[damage](path)
    except FileNotFoundError:
        pytest.skip("there is no other file of its kind")
    if file not in ("run", "report", "lock") or damage != "removed":
        assert main(["check", "run"]) == 1
        assert str(path.relative_to(work)) in capsys.readouterr().out
    for reader in (["plan", "tampered.yaml", "--run", "run", "--against", "run"], ["why", "run", "0"]):
        assert main(reader) in (0, 1)
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        assert len(said.err.splitlines()) <= 1
    codes = [main(COMMAND)]
    if codes == [1]:
        assert len(capsys.readouterr().err.strip().splitlines()) == 1
        codes.append(main(COMMAND))
    assert codes[-1] == 0, capsys.readouterr().err
    assert tampering.snapshot(work) == tampering.snapshot(finished)
    assert main(["check", "run"]) == 0, capsys.readouterr().out
