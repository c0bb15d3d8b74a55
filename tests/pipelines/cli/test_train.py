"""``gristmill train``, as a user runs it, on a tiny model."""

from __future__ import annotations

import hashlib
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gristmill.contracts.inference import Sampling
from gristmill.pipelines.cli.main import main
from gristmill.pipelines.python_api.chat import Chat
from gristmill.trainer.model.tensor_files import TensorReader

GRISTMILL = str(Path(sys.executable).with_name("gristmill"))
SETTINGS = "max_length: 128\nbatch_tokens: 200\npack_tokens: 128\nlearning_rate: 0.01\ndtype: fp32\n"
ADAPTER = "adapter: {rank: 4, alpha: 8}\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_model) -> Path:
    """The current directory, with a model in it."""
    make_model(name="tiny")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path: str, rows: list[dict[str, Any]]) -> None:
    Path(path).write_text("".join(json.dumps(row) + "\n" for row in rows))


def file(text: str, name: str = "first.yaml") -> str:
    Path(name).write_text(f"model: ./tiny\n{SETTINGS}{text}")
    return name


def talks(count: int = 12) -> list[dict[str, Any]]:
    return [
        {
            "messages": [
                {"role": "user", "content": f"say {n % 3}"},
                {"role": "assistant", "content": "ab" * 4},
            ]
        }
        for n in range(count)
    ]


def told(out: str) -> dict[str, str]:
    """The closing lines, by their first word."""
    words = ("trained", "loss", "left", "memory", "adapter", "delta", "serve", "merge")
    lines = [line.partition(" ") for line in out.splitlines()]
    return {first: rest.strip() for first, _, rest in lines if first in words}


def digest(directory: Path) -> str:
    return hashlib.sha256((directory / "adapter_model.safetensors").read_bytes()).hexdigest()


def digest_of_model(directory: str) -> str:
    return hashlib.sha256(Path(directory, "model.safetensors").read_bytes()).hexdigest()


def test_messages_train_and_the_student_can_be_merged(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write("rows.jsonl", talks())
    name = file(f"train: sft\ndata: rows.jsonl\nepochs: 6\n{ADAPTER}out: made\n")
    assert main(["train", name]) == 0
    lines = told(capsys.readouterr().out)
    first, last = (float(part.split()[0]) for part in lines["loss"].split(", "))
    assert last < 0.7 * first
    assert lines["trained"].startswith("12 rows in ")
    assert "predicted " in lines["memory"]
    assert "measured " in lines["memory"]
    assert lines["adapter"] == "made/student"
    assert lines["serve"].endswith("--enable-lora --max-lora-rank 8 --lora-modules student=made/student")
    assert str(here / "tiny") in lines["serve"]
    config = json.loads(Path("made/student/adapter_config.json").read_text())
    assert (config["r"], config["base_model_name_or_path"]) == (4, str(here / "tiny"))

    command = lines["merge"].partition("  (")[0].split()
    assert command[:2] == ["gristmill", "merge"]
    assert "(with --into trained: " in lines["merge"]
    command[command.index("DIR")] = "merged"
    assert main(command[1:]) == 0
    assert Path("merged/model.safetensors").exists()
    assert main([*command[1:-1], "exact", "--into", "trained"]) == 0
    assert digest_of_model("exact") != digest_of_model("merged")

    assert main(["train", name]) == 0  # nothing is done twice
    again = capsys.readouterr().out
    assert "student (train: sft): 12 in, 12 kept, reused" in again
    assert told(again)["loss"] == lines["loss"]
    assert main(["plan", name]) == 0
    assert "nothing to run" in capsys.readouterr().out


def test_a_student_that_cannot_be_merged_is_served_beside_its_base(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write("rows.jsonl", talks(10))
    name = file(
        "train: sft\ndata: rows.jsonl\nepochs: 6\nadapter: {kind: mam, rank: 4, alpha: 8}\nout: made\n"
    )
    assert main(["train", name]) == 0
    lines = told(capsys.readouterr().out)
    first, last = (float(part.split()[0]) for part in lines["loss"].split(", "))
    assert last < 0.8 * first
    assert lines["serve"] == "gristmill chat made/student"
    assert "merge" not in lines
    assert "cannot be merged" in Path("made/student/README.md").read_text().replace("\n", " ")
    talk = Chat.start("made/student", None, Sampling(max_tokens=8, temperature=0.0), 0)
    base = Chat.start("./tiny", None, Sampling(max_tokens=8, temperature=0.0), 0)
    try:
        assert talk.say("say 1") != base.say("say 1")
    finally:
        talk.close()
        base.close()
    assert main(["merge", "./tiny", "made/student", "--out", "merged"]) == 1
    assert "does not change the weights" in capsys.readouterr().err
    assert not Path("merged").exists()


def test_texts_are_mixed_by_weight_and_the_report_says_what_was_drawn(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("wiki", "code", "held"):
        write(f"{name}.jsonl", [{"text": f"{name} {n % 5} " * 3} for n in range(16)])
    (here / "tiny/chat_template.jinja").unlink()  # a base model has none
    name = file(
        f"train: text\ndata: [wiki.jsonl, code.jsonl]\nmix: [3, 1]\n{ADAPTER}"
        "evaluate_on: held.jsonl\nevaluate_every: 2\n"
    )
    assert main(["train", name, "--show-tokens", "1"]) == 0
    assert "[w][i][k][i][ ][0]" in capsys.readouterr().out
    assert main(["train", name]) == 0
    out = capsys.readouterr().out
    drawn = next(line for line in out.splitlines() if line.startswith("drawn"))
    assert re.fullmatch(r"drawn +data_1 7\d\.\d% of the tokens, 1 passes; data_2 2\d\.\d% of .*", drawn)
    assert "report  runs/first/report.html" in out
    html = Path("runs/first/report.html").read_text()
    for words in ("drawn: data 1: share", "drawn: data 2: passes", "held out ", 'class="beside"'):
        assert words in html, words
    Path("runs/first/report.html").unlink()
    assert main(["train", name, "--no-report"]) == 0
    assert not Path("runs/first/report.html").exists()


def test_rows_that_cannot_be_trained_on_are_counted_and_listed_with_their_reason(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": ""}]}
    write("rows.jsonl", [*talks(), empty])
    name = file(f"train: sft\ndata: rows.jsonl\n{ADAPTER}")
    assert main(["train", name]) == 0
    assert told(capsys.readouterr().out)["left"] == "out 1 empty response"
    (listed,) = Path("runs/first").rglob("left_out.parquet")
    (row,) = pq.read_table(listed).to_pylist()
    assert row["reason"] == "empty response"
    assert main(["why", "runs/first", row["row"]]) == 0
    assert "empty response" in capsys.readouterr().out
    assert main(["check", "runs/first"]) == 0
    assert main(["train", name, "--set", "unfit_limit=0.05"]) == 1
    assert "1 of 13 rows cannot be trained on; unfit_limit allows 5%" in capsys.readouterr().err


def test_a_changed_setting_trains_again_and_moves_the_link(here: Path) -> None:
    write("rows.jsonl", talks())
    name = file(f"train: sft\ndata: rows.jsonl\n{ADAPTER}")
    assert main(["train", name, "--quiet"]) == 0
    before = Path("runs/first/student").resolve()
    assert main(["train", name, "--quiet", "--set", "epochs=2"]) == 0
    after = Path("runs/first/student").resolve()
    assert before != after
    assert digest(before) != digest(after)


def test_parquet_with_other_column_names_and_held_out_rows(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = pa.table({"instruction": [f"say {n % 3}" for n in range(12)], "output": ["ab" * 4] * 12})
    pq.write_table(table, "rows.parquet")
    write("held.jsonl", [{"prompt": "say 1", "response": "ab" * 4}])
    name = file(
        "train: sft\ndata: {path: rows.parquet, rename: {instruction: prompt, output: response}}\n"
        f"evaluate_on: held.jsonl\nquantize: none\nepochs: 4\n{ADAPTER}"
    )
    assert main(["train", name, "--json"]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert events[-1]["event"] == "Trained"
    assert events[-1]["adapter"] == "runs/first/student"
    metrics = events[-1]["metrics"]
    assert metrics["held_out_loss"] < metrics["loss_first"]
    assert main(["train", name]) == 0
    assert ", held out " in told(out := capsys.readouterr().out)["loss"]
    assert "--into" not in told(out)["merge"]


def test_pairs_train_by_dpo_from_a_saved_data_set(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from datasets import Dataset

    rows = [{"prompt": f"say {n}", "chosen": "ab" * 3, "rejected": "ba" * 3} for n in range(6)]
    Dataset.from_list(rows).save_to_disk("pairs")
    name = file(f"train: dpo\ndata: pairs\nbatch_rows: 2\nepochs: 3\n{ADAPTER}")
    assert main(["train", name, "--json"]) == 0
    metrics = json.loads(capsys.readouterr().out.splitlines()[-1])["metrics"]
    assert metrics["loss_last"] < metrics["loss_first"]
    assert metrics["accuracy_last"] == 1.0


def test_a_sparse_change_of_the_weights_is_merged_not_served(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write("rows.jsonl", talks())
    sparse = "sparse: {kind: selekt, density: 0.01, every: 2}"
    name = file(f"train: sft\ndata: rows.jsonl\nquantize: none\nadapter: {{kind: delta}}\n{sparse}\n")
    assert main(["train", name]) == 0
    lines = told(capsys.readouterr().out)
    assert lines["delta"] == "runs/first/student"
    assert "serve" not in lines
    command = lines["merge"].replace("DIR", "merged").split()
    assert main(command[1:]) == 0
    changed = weights = 0
    with TensorReader(Path("tiny")) as base, TensorReader(Path("merged")) as merged:
        for tensor in base:
            if tensor.endswith("_proj.weight"):
                weights += base.get(tensor).numel()
                changed += int((base.get(tensor) != merged.get(tensor)).sum())
    assert changed == int(0.01 * weights)


def test_show_tokens_marks_what_is_trained_on_and_stops(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    long = [*talks(1)[0]["messages"][:1], {"role": "assistant", "content": "x" * 200}]
    write("rows.jsonl", [*talks(1), {"messages": long}, *talks(3)])
    name = file(f"train: sft\ndata: rows.jsonl\n{ADAPTER}out: made\n")
    assert main(["train", name, "--show-tokens", "2"]) == 0
    out = capsys.readouterr().out
    assert "9 of " in out
    assert "<|start|>user\nsay 0<|end|>\n<|start|>assistant\n[a][b][a][b][a][b][a][b][<|end|>]" in out
    assert "left out: 225 tokens, longer than max_length = 128" in out
    assert out.count("row ") == 2
    assert not Path("made/student").exists()
    # Of all rows, as many are left out as training allows; of half as many, more.
    assert main(["train", name, "--show-tokens", "5"]) == 0
    less = file("train: sft\ndata: {source: jsonl, path: rows.jsonl, rows: 2}\nout: less\n", "less.yaml")
    capsys.readouterr()
    assert main(["train", less, "--show-tokens", "2"]) == 1
    shown = capsys.readouterr()
    assert shown.out.count("row ") == 2
    assert "1 of 2 rows cannot be trained on; unfit_limit allows 20%" in shown.err
    assert main(["train", name, "--quiet"]) == 0
    assert main(["train", name, "--show-tokens", "1"]) == 0
    assert main(["explain", "made", "student"]) == 0  # the record of the training is still there
    capsys.readouterr()
    with pytest.raises(SystemExit):
        main(["train", name, "--show-tokens", "0"])
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    write("pairs.jsonl", [{"prompt": "say\x1b[31m\x1b]0;owned\x07", "chosen": "ab", "rejected": "ba"}])
    assert main(["train", file("train: dpo\ndata: pairs.jsonl\n", "p.yaml"), "--show-tokens", "9"]) == 0
    out = capsys.readouterr().out
    assert "[a][b][<|end|>]" in out
    assert "[b][a][<|end|>]" in out
    assert r"say\u001b[31m\u001b]0;owned\u0007<|end|>" in out
    assert "\x1b" not in out


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("train: sft\ndata: rows.jsnl\n", 2, "data: found 'rows.jsnl'; give a path"),
        ("train: sft\ndata: absent.jsonl\n", 2, "data: absent.jsonl: no such file"),
        ("train: sft\ndata: rows.jsonl\nepochss: 1\n", 2, "did you mean 'epochs'?"),
        ("train: sft\ndata: rows.jsonl\nmodel: ./smol\n", 2, "model: the model './smol' looks like a path"),
        ("train: dpo\ndata: rows.jsonl\n", 2, "no column 'chosen'"),
        ("train: cft\ndata: rows.jsonl\n", 2, "no column 'question'"),
        ("train: sft\ndata: bad.jsonl\n", 2, "bad.jsonl:2: not JSON"),
        ("train: sft\ndata: texts.jsonl\n", 2,
         "no chat form: a row needs 'messages', or 'prompt' and 'response'"),
        ("train: sft\ndata: halves.jsonl\n", 1, "the last turn is not the assistant's"),
        ("train: sft\ndata: mixed.jsonl\n", 1, "turn 1 (user) has no text"),
    ],
)  # fmt: skip
def test_mistakes(here: Path, text: str, code: int, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    write("rows.jsonl", talks(2))
    write("texts.jsonl", [{"text": "once upon a time"}])
    write("halves.jsonl", [{"messages": talks(1)[0]["messages"][:1]}])
    write(
        "mixed.jsonl", [{"messages": [{"role": "user", "image": "x"}, {"role": "assistant", "content": "y"}]}]
    )
    Path("bad.jsonl").write_text('{"prompt": "a", "response": "b"}\nnot json\n')
    model = "" if "model:" in text else "model: ./tiny\n"
    Path("f.yaml").write_text(f"{model}{SETTINGS}{text}")
    assert main(["train", "f.yaml"]) == code
    err = capsys.readouterr().err
    assert said in err
    assert "Traceback" not in err
    if code == 2:
        assert err.startswith(("f.yaml:", "--set"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "kill"])
def test_a_stopped_training_goes_on_to_the_same_bits(
    here: Path, number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    write("rows.jsonl", talks(40))
    text = f"train: sft\ndata: rows.jsonl\nepochs: 6\ncheckpoint_every: 1\n{ADAPTER}"
    name = file(text + "out: cut\n")
    process = subprocess.Popen([GRISTMILL, "train", name], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 600
    while not list(Path("cut/work").glob("student-*/checkpoint.pt")) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(number)
    _, err = process.communicate(timeout=600)
    assert process.returncode == (130 if number == signal.SIGINT else -signal.SIGKILL)
    if number == signal.SIGINT:
        assert b"stopped; committed results are kept. To resume: gristmill " in err
    assert not Path("cut/student").exists()
    steps = _steps(main_json(name, capsys))
    assert main(["train", file(text + "out: whole\n", "w.yaml"), "--set", "name=first", "--json"]) == 0
    whole = _steps([json.loads(line) for line in capsys.readouterr().out.splitlines()])
    assert 0 < len(steps) < len(whole)  # it resumed and did not start again
    assert digest(Path("cut/student")) == digest(Path("whole/student"))


def main_json(name: str, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    assert main(["train", name, "--json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def _steps(events: list[dict[str, Any]]) -> list[float]:
    """The optimizer steps that a run did."""
    return [event["done"] for event in events if event.get("unit") == "steps"]
