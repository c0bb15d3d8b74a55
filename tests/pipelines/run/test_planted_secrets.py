"""Secrets are planted in every input of a run; none of its outputs contains any of them, in any form."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pyarrow.parquet as pq
import pytest

from gristmill.pipelines.cli.main import main

GRISTMILL = str(Path(sys.executable).with_name("gristmill"))

#: Place -> the secret planted there.
PLANTED = {
    "TEACHER_LOGIN": 'k3y+of/the=teacher&<"q">\'s',  # what key_env names; its name tells nothing
    "MY_KEY": "planted_in_my_key",
    "OPENAI_KEY": "sk-planted/in+openai==",
    "SOME_PROXY": "http://me:planted-proxy-pw@127.0.0.1:9/",
    "vars.my_token": "planted-by-set-0123",
    "args.password": "planted in the file",
}
SECRETS = {**PLANTED, "SOME_PROXY": "planted-proxy-pw"}

FILE = """gristmill: 1
name: planted
vars: {my_token: none}
models:
  teacher: {engine: openai, url: "URL", model: m, key_env: TEACHER_LOGIN, attempts: 1, patience: 0}
steps:
  prompts: {source: "leaky:prompts", args: {of: [good, echo, map fails]}}
  answers: {generate: respond, from: prompts, model: teacher}
  told:
    map: "leaky:told"
    from: answers
    args: {password: planted in the file, header: "X-Token: ${my_token}"}
  data:    {export: parquet, from: told}
""" + "".join(
    f"""  {failure}_prompts: {{source: "leaky:prompts", args: {{of: [{failure}]}}}}
  {failure}: {{generate: respond, from: {failure}_prompts, model: teacher, on_failure: accept}}
"""
    for failure in ("refuse", "busy", "garbage", "lost")
)

LEAKY = """
import base64, logging, os, sys
from urllib.parse import quote

logging.basicConfig(filename=os.environ["LOG"], level=logging.DEBUG)
NAMES = ("TEACHER_LOGIN", "MY_KEY", "OPENAI_KEY", "SOME_PROXY")


def prompts(of):
    for prompt in of:
        yield {"prompt": prompt}


def told(row, password, header):
    everything = [*(os.environ[name] for name in NAMES), password, header]
    print("print:", everything)
    print("error:", everything, file=sys.stderr)
    logging.getLogger("leaky").warning("log: %s", everything)
    try:
        raise KeyError(*everything)
    except KeyError:
        logging.getLogger("leaky").exception("caught")
    if row["prompt"] != "map fails":
        return {"told": True}
    encoded = [quote(each) for each in everything]
    encoded += [base64.b64encode(f"me:{each}".encode()) for each in everything]
    raise RuntimeError(f"cannot log in with {everything} or {encoded}" + "." * 1900 + everything[1])
"""


@pytest.fixture
def url(listen: Callable[..., Any]) -> str:
    """A server that echoes requests: in the text of errors, in their headers and in an answer."""

    def echo(number: int, body: dict[str, Any]) -> tuple[int, dict[str, str], object]:
        path, headers, _ = server.seen[number]
        prompt = body["messages"][-1]["content"]
        sent = headers["authorization"]
        key = sent.removeprefix("Bearer ")
        told = f"{prompt}: POST {path}?api_key={quote(key)} {headers}"
        basic = base64.b64encode(f"user:{key}".encode()).decode()
        error = {"error": {"message": "." * 477 + key + sent + told, "tried": f"Basic {basic}"}}
        status: int = {"refuse": 400, "busy": 503, "lost": 410}.get(prompt, 200)
        if prompt == "lost":
            error = {"detail": [sent, {"url": f"http://user:{quote(key, safe='')}@host{path}"}]}
        said: object = error
        if status == 200:
            text = f"I was told {key}" if prompt == "echo" else "fine"
            said = {"choices": [{"message": {"content": text}, "finish_reason": "stop"}], "usage": {}}
        said = told.encode() if prompt == "garbage" else said
        return status, {"x-you-sent": sent, "retry-after": "0"}, said

    server = listen(echo)
    return str(server.url)


@pytest.fixture
def planted(tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a pipeline file, in an environment with secrets; it is the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "planted.yaml").write_text(FILE.replace("URL", url))
    (tmp_path / "leaky.py").write_text(LEAKY)
    for name, value in PLANTED.items():
        if "." not in name:
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("LOG", str(tmp_path / "run.log"))
    return tmp_path


def forms(secret: str) -> Iterator[str]:
    yield from (secret, json.dumps(secret)[1:-1], json.dumps(json.dumps(secret))[3:-3], repr(secret)[1:-1])
    yield from (quote(secret), quote(secret, safe=""), quote_plus(secret), escape(secret))
    yield base64.b64encode(secret.encode()).decode().rstrip("=")[:-1]
    yield base64.b64encode(b"me:" + secret.encode()).decode().rstrip("=")[5:-1]
    yield secret[: len(secret) * 2 // 3]  # nothing was cut before it was hidden


def found_in(text: str) -> set[str]:
    return {name for name, secret in SECRETS.items() if any(form in text for form in forms(secret))}


def left_behind(folder: Path) -> dict[str, str]:
    """Every file of a folder as text; for Parquet, the values and the metadata."""
    texts = {}
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            texts[str(path)] = path.read_bytes().decode("latin-1")
            if path.suffix == ".parquet":
                table = pq.read_table(path, partitioning=None)
                texts[f"{path} (rows)"] = f"{table.to_pylist()} {table.schema} {table.schema.metadata}"
    return texts


def call(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([GRISTMILL, *arguments], capture_output=True, text=True, timeout=300)


def failed_ids(run: Path) -> list[str]:
    tables = [pq.read_table(path, partitioning=None) for path in run.glob("steps/*/part-*.parquet")]
    return [row["_id"] for table in tables for row in table.to_pylist() if row["_fate"] == "failed"]


SET = ("--set", f"vars.my_token={PLANTED['vars.my_token']}")


@pytest.mark.parametrize("executor", ["local", pytest.param("ray", marks=pytest.mark.ray)])
def test_nothing_that_a_run_leaves_holds_a_secret(
    planted: Path, executor: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Sockets have short names only.
    ray = tempfile.TemporaryDirectory(prefix="ray")
    monkeypatch.setenv("RAY_TMPDIR", ray.name)
    done = call("run", "planted.yaml", "--run", "run", "--executor", executor, *SET)
    assert done.returncode == 0, done.stderr
    again = call(
        "run",
        "planted.yaml",
        "--run",
        "run",
        "--executor",
        executor,
        "--retry-failed",
        "--json",
        "--debug",
        *SET,
    )
    assert again.returncode == 0, again.stderr
    run = planted / "run"
    assert len(failed_ids(run)) == 5
    for name in failed_ids(run):
        assert main(["why", "run", name]) == 0
    assert main(["report", "run"]) == 0
    assert main(["plan", "planted.yaml", "--json", *SET]) == 0
    assert main(["plan", "planted.yaml", "--against", "run", "--set", "vars.my_token=another-secret-1"]) == 0
    texts = left_behind(run)
    texts["log"] = (planted / "run.log").read_text()
    printed = capsys.readouterr()
    texts |= {
        "run": done.stdout + done.stderr,
        "again": again.stdout + again.stderr,
        "told": printed.out + printed.err,
    }
    with ray:
        workers = left_behind(Path(ray.name))
    texts |= workers
    assert any("print: [" in text for text in workers.values()) == (executor == "ray")
    assert {name: found for name, text in texts.items() if (found := found_in(text))} == {}
    # Every output did contain a secret, which was hidden.
    everything = "".join(texts.values())
    for said in (
        "cannot log in with",
        "status 400",
        "status 410",
        "I was told ***",
        "log: ",
        "print: ",
        "Traceback",
    ):
        assert said in everything, said
    assert "x-you-sent" in texts["log"] or executor == "ray"
    report = (run / "report.html").read_text()
    assert "cannot log in with" in report


def test_a_preview_tells_no_secret(planted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["preview", "planted.yaml", *SET]) == 0
    printed = capsys.readouterr()
    assert "cannot log in with" in printed.out
    assert found_in(printed.out + printed.err) == set()


def test_a_crash_tells_no_secret(
    planted: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import httpx

    from gristmill.pipelines.run.loop import RoundLoop

    def crash(*args: object) -> None:
        # The second one is where the message is cut.
        raise httpx.ConnectError(
            f"https://x/?api_key={quote(PLANTED['OPENAI_KEY'])} {'.' * 230} {os.environ['TEACHER_LOGIN']}"
        )

    monkeypatch.setattr(RoundLoop, "_close", crash)
    assert main(["run", "planted.yaml", "--run", "run", *SET]) == 70
    assert main(["run", "planted.yaml", "--run", "run", "--debug", "--quiet", *SET]) == 70
    printed = capsys.readouterr()
    assert "internal error: ConnectError: https://x/?api_key=***" in printed.err
    assert "Traceback" in printed.err
    assert found_in(printed.out + printed.err) == set()
    assert {
        name: found for name, text in left_behind(planted / "run").items() if (found := found_in(text))
    } == {}


@pytest.mark.parametrize(
    ("setting", "shown"),
    [
        ("models.teacher.url=http://user:PW-1234567@host:8000/v1",
         "the address http://host:8000 holds a user or password"),
        ("models.teacher.url=http://host/v1?api_key=PW-1234567",
         "the address http://host holds the secret 'api_key'"),
        ("models.teacher.url=http://PW-1234567@host/v1", "holds a user or password"),
        ("models.teacher.url=http://user:PW-/1234567@host/v1", "holds a user or password"),
        ("models.teacher.url=user:PW-1234567@host/v1", "holds a user or password"),
        ("models.teacher.url=ftp://host/v1?sig=PW-1234567", "holds the secret 'sig'"),
        ("steps.prompts={source: parquet, path: 'https://user:PW-1234567@host/rows.parquet'}",
         "environment of the library"),
        ("steps.prompts={source: jsonl, path: ['a.jsonl', 's3://AKIA1:PW-1234567@bucket/r.jsonl']}",
         "steps.prompts.path[1]"),
        ("steps.prompts={source: jsonl, path: 'https://h/r.jsonl?X-Amz-Signature=PW-1234567'}",
         "X-Amz-Signature"),
        ("steps.told.args.url=https://h/hook?token=PW-1234567", "steps.told.args.url"),
        ("steps.data.path=s3://k:PW-1234567@bucket/out", "steps.data.path"),
    ],
)  # fmt: skip
def test_an_address_with_a_secret_is_refused_when_planning_and_not_repeated(
    planted: Path, capsys: pytest.CaptureFixture[str], setting: str, shown: str
) -> None:
    assert main(["plan", "planted.yaml", "--set", setting]) == 2
    printed = capsys.readouterr()
    assert shown in printed.err
    assert "PW-" not in printed.err + printed.out
    assert "1234567" not in printed.err + printed.out
    if "teacher" in setting:
        assert "key_env: MY_KEY" in printed.err


def test_a_long_secret_is_not_repeated_in_part(planted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["plan", "planted.yaml", "--set", f"vars.my_token={'k' * 150}", "--set", "seed=${my_token}"])
        == 2
    )
    printed = capsys.readouterr()
    assert "expected a whole number; found '***'" in printed.err
    assert "kkk" not in printed.err


def test_an_address_in_a_file_is_named_by_its_line_and_field(
    planted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for address in ("http://user:PW-1234567@host/v1", "http://host/v1?api_key=PW-1234567"):
        (planted / "planted.yaml").write_text(FILE.replace("URL", address))
        for command in ("plan", "run", "preview"):
            assert main([command, "planted.yaml"]) == 2
            printed = capsys.readouterr()
            assert printed.err.startswith(
                "planted.yaml:5:34: models.teacher.url: the address http://host holds "
            )
            assert printed.err.count("\n") == 1
            assert "PW-" not in printed.err + printed.out
    assert not (planted / "runs").exists()
