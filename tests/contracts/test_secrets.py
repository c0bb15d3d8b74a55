from __future__ import annotations

import base64
import json
from html import escape
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import escape as markup_escape

from gristmill.contracts import secrets
from gristmill.contracts.secrets import HIDDEN, learn, looks_secret, scrub, scrubbed, without
from gristmill.pipelines.file.load import loads
from gristmill.pipelines.plan.make import make_plan
from gristmill.pipelines.plan.record import as_record
from gristmill.pipelines.store.sealed_json import read_record, write_record


@pytest.fixture(autouse=True)
def _nothing_is_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "_learned", set())


@pytest.mark.parametrize(
    "name",
    ["MY_KEY", "OPENAI_KEY", "OPENAIKEY", "api_key", "apiKey", "X-API-Key", "API_KEY_2", "HF_TOKEN",
     "githubToken", "DB_PASSWORD", "DB_PASSWD", "DB_PASS", "PGPASSWORD", "SECRET", "client-secret",
     "AWS_SECRET_ACCESS_KEY", "CREDENTIALS", "BASIC_AUTH", "OAUTH", "Authorization", "X_AUTH_VALUE",
     "SESSION_COOKIE"],
)  # fmt: skip
def test_names_of_secrets(name: str) -> None:
    assert looks_secret(name)


@pytest.mark.parametrize(
    "name",
    ["key_env", "SSH_AUTH_SOCK", "TOKEN_FILE", "tokenizer", "TOKENIZERS_PARALLELISM", "author", "KEYBOARD",
     "pass_rate", "passed", "compass", "path", "keyword", "sort_key_column", "", "123", "signature",
     "max_tokens"],
)  # fmt: skip
def test_names_of_other_things(name: str) -> None:
    assert not looks_secret(name)


def test_the_environments_secrets_are_known_by_their_values(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MY_KEY", "abc<&>12345")
    monkeypatch.setenv("OPENAI_KEY", "open-sesame-1")
    monkeypatch.setenv("SOME_TOKEN", "false")
    monkeypatch.setenv("SOME_PLACE", "somewhere-else")
    monkeypatch.setenv("OTHER_KEY", str(tmp_path))  # the path of a key is not a secret
    monkeypatch.setenv("A_DATABASE", "postgres://me:db-password@host/name")
    text = f"abc<&>12345 open-sesame-1 false somewhere-else {tmp_path} db-password"
    assert scrub(text) == f"{HIDDEN} {HIDDEN} false somewhere-else {tmp_path} {HIDDEN}"
    monkeypatch.delenv("OPENAI_KEY")
    assert scrub("open-sesame-1") == "open-sesame-1"


def test_what_a_file_names_like_a_secret_is_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEACHER", "what key_env names")
    learn("", yaml.safe_load("""
        vars: {my_key: planted one, sort_key: response, key: source_package, api_key: "${other}",
               password: short}
        models: {teacher: {key_env: TEACHER, url: http://host}}
        steps: {x: {map: "m:f", args: {headers: {Authorization: planted two}, tokens: [planted three],
                                       limit: planted four}}}
    """))  # fmt: skip
    told = (
        "planted one, planted two, planted three, planted four, response, source_package, short, what "
        "key_env names"
    )
    assert (
        scrub(told)
        == f"{HIDDEN}, {HIDDEN}, {HIDDEN}, planted four, response, source_package, short, {HIDDEN}"
    )


SECRET = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=8, max_size=40).filter(
    lambda text: text.strip() == text
)


@given(SECRET, st.text(max_size=5))
def test_a_secret_is_hidden_in_every_form(secret: str, before: str) -> None:
    written = [
        secret, json.dumps(secret), json.dumps(secret, ensure_ascii=False), json.dumps(json.dumps(secret)),
        repr(secret), escape(secret), str(markup_escape(secret)), quote(secret), quote(secret, safe=""),
        quote_plus(secret), quote(secret, safe="").lower(), json.dumps({"error": f"sent {secret}"}),
    ]  # fmt: skip
    written += [text.upper() for text in written] + [text.lower() for text in written]
    # Of some other letters there are more than two cases.
    written += [secret.encode().hex(), *([secret.swapcase(), secret.title()] if secret.isascii() else [])]
    for text in written:
        assert HIDDEN in without(text, {secret})
        assert secret not in without(text, {secret})
    encoded = base64.b64encode(f"{before}:{secret}".encode()).decode()
    hidden = without(encoded, {secret})
    assert HIDDEN in hidden
    kept_before, _, kept_after = hidden.partition(HIDDEN)
    assert len(kept_before) <= -(-len(f"{before}:".encode()) * 8 // 6)
    assert kept_after == "", "nor does its end tell anything of the secret's"


@pytest.mark.parametrize("key", ["Sk-Planted/Key+0123", "abcd-12", "Straße-9000", "x" * 40])
@pytest.mark.parametrize("before", ["", "u", "us", "user:"])
@pytest.mark.parametrize("after", ["", "!", "!!", "!!!"])
def test_a_key_is_hidden_in_capitals_and_wherever_it_stands_in_base64(
    key: str, before: str, after: str
) -> None:
    for echo in (
        key,
        key.upper(),
        key.lower(),
        key.swapcase(),
        quote(key.upper()),
        key.encode().hex().upper(),
    ):
        assert without(f"you sent {before}{echo}{after}", {key}) == f"you sent {before}{HIDDEN}{after}"
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        text = encode(f"{before}{key}{after}".encode()).decode()
        for told in (text, text.rstrip("=")):
            left_before, hidden, left_after = without(f"got {told}.", {key}).partition(HIDDEN)
            assert hidden
            # Only characters that depend on the surrounding text alone are left.
            assert len(left_before) <= 4 + len(before.encode()) * 8 // 6
            assert len(left_after.rstrip("=.")) <= -(-len(after) * 8 // 6)


def test_what_only_looks_like_a_key_in_other_capitals_of_base64_stays() -> None:
    assert without("QUJDREVGR0hJ", {"abcdefghi"}) == "QUJDREVGR0hJ"
    assert HIDDEN in without("ywjjzgvmz2hp", {"ywjjzgvmz2hp"})


def test_a_secret_within_another_and_one_of_several_lines() -> None:
    assert without("a secret-long, a secret", {"secret", "secret-long"}) == f"a {HIDDEN}, a {HIDDEN}"
    pem = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0\nshort\n-----END PRIVATE KEY-----\n"
    assert without(f"found {pem}", {pem}) == f"found {HIDDEN}"
    assert "MIIE" not in without("line 2: MIIEvQIBADANBgkqhkiG9w0", {pem})


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("GET http://user:PW@host/v1", "GET http://***@host/v1"),
        ("https://gho_token@github.com/x.git", "https://***@github.com/x.git"),
        ("http://host/v1?api_key=PW&n=3", "http://host/v1?api_key=***&n=3"),
        ("http://host/v1?n=3&amp;X-Amz-Signature=PW", "http://host/v1?n=3&amp;X-Amz-Signature=***"),
        ("Authorization: Bearer abc.def-123", "Authorization: Bearer ***"),
        ("authorization: basic dXNlcjpwdw==", "authorization: basic ***"),
        ("hf_abcdefghijklmnopqrst", "***"),
        ("sk-proj-abcdefghijklmnop", "***"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc", "***"),
        ("Basic authentication is required", "Basic authentication is required"),
        ("bearer tokens, see task-specific-documentation", "bearer tokens, see task-specific-documentation"),
        ("mail me@host or http://host/a@b?page=2", "mail me@host or http://host/a@b?page=2"),
        ("hf://datasets/user/name@main/x", "hf://datasets/user/name@main/x"),
    ],
)
def test_what_has_the_form_of_a_secret_is_hidden_in_messages(text: str, hidden: str) -> None:
    assert scrub(text) == hidden
    assert scrub(hidden) == hidden


@pytest.mark.parametrize(
    "text", ["a", "eyJ-", "sk-", "http:", "a://", "?a", "&a", "basic ", "Bearer", "::", ".", "a:"]
)
def test_a_long_text_is_read_once(text: str) -> None:
    """A scan to the end from each letter would take hours."""
    long = text * (1_000_000 // len(text))
    assert scrub(f"{long} hf_abcdefghijklmnopqrst").endswith(f" {HIDDEN}")


@pytest.mark.parametrize(
    "secret", ["Bearer abc-12345", 'http://u:p"@h', "x?api_key=abc", "http://a/?sig=1\\", "sk-" + "a" * 20]
)
def test_json_stays_json(secret: str) -> None:
    text = f'he said "{secret}" and "{secret}\\"'
    assert json.loads(scrub(json.dumps({"said": text})))["said"].startswith("he said ")


def test_a_record_loses_values_and_what_stands_under_a_secrets_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "planted-value")
    value = {
        "api_key": "never seen before",
        "nested": [{"Password": 12345678, "max_tokens": 5, "token": "t", "pass_rate": 0.5}],
        "prompt": "say planted-value",
        "url": "http://user:pw@x",  # recognized by its format only: a record can be read again
        "planted-value": None,
    }
    assert scrubbed(value) == {
        "api_key": HIDDEN,
        "nested": [{"Password": HIDDEN, "max_tokens": 5, "token": "t", "pass_rate": 0.5}],
        "prompt": f"say {HIDDEN}",
        "url": "http://user:pw@x",
        HIDDEN: None,
    }
    assert scrubbed(scrubbed(value)) == scrubbed(value)


def test_json_files_and_what_a_pipeline_keeps_of_itself_hold_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MY_KEY", "planted-value")
    write_record(
        tmp_path / "manifest.json", {"summary": {"said": "no planted-value", "password": "other-secret"}}
    )
    assert read_record(tmp_path / "manifest.json", {"summary": dict}) == {
        "summary": {"said": f"no {HIDDEN}", "password": HIDDEN}
    }
    spec = loads(
        "gristmill: 1\nname: t\nvars: {api_key: planted-in-vars}\nsteps:\n  rows: {source: jsonl, "
        "path: '${api_key}.jsonl'}\n"
    )
    assert "planted-in-vars.jsonl" in spec.resolved()
    assert loads(spec.recorded()).steps["rows"].operator.path == f"{HIDDEN}.jsonl"
    assert "planted-in-vars" not in scrub("cannot read planted-in-vars.jsonl")
    kept = (
        'gristmill: 1\nname: t\nsteps:\n  rows: {source: constraints, rows: 3}\n  x: {keep: "prompt = '
        "'planted-value'\", from: rows}\n"
    )
    record = as_record(make_plan(loads(kept), file=""))
    assert record["steps"]["x"]["request"]["params"]["keep"] == f"prompt = '{HIDDEN}'"
