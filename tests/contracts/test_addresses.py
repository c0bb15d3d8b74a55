from __future__ import annotations

import pytest

from gristmill.contracts.addresses import refusal, shown_address
from gristmill.pipelines.engines.openai import OpenAIOptions


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("http://user:PW@host:8000/v1/PW?key=PW#PW", "http://host:8000"),
        ("https://[::1]:8000/v1", "https://::1:8000"),
        ("simplecache::https://user:PW@host/x", "https://host"),
        ("http://user:PW/x@host", ""),
        ("no address", ""),
    ],
)
def test_scheme_and_host_are_shown(address: str, shown: str) -> None:
    assert shown_address(address) == shown


@pytest.mark.parametrize(
    ("address", "holds"),
    [
        ("http://user:PW@host/v1", "the address http://host holds a user or password"),
        ("https://PW@host/v1", "a user or password"),
        ("http://:PW@host/v1", "a user or password"),
        ("http://user:P/W@host/v1", "a user or password"),
        ("http://user:PW@[fe80::1]:80/v1", "a user or password"),
        ("s3://AKIA:PW@bucket/key", "a user or password"),
        ("simplecache::https://user:PW@host/x", "a user or password"),
        ("zip://rows.jsonl::https://host/x.zip?token=PW", "the secret 'token'"),
        ("http://host/v1?api_key=PW", "the secret 'api_key'"),
        ("http://host/v1?a=1&API-KEY=PW", "the secret 'API-KEY'"),
        ("http://host/v1?access%5Ftoken=PW", "the secret 'access_token'"),
        ("https://host/x?sv=1&sig=PW", "the secret 'sig'"),
        ("https://host/x?X-Amz-Signature=PW", "the secret 'X-Amz-Signature'"),
        ("https://host/#token=PW", "the secret 'token'"),
        ("https://host/x?PW-my-key", "a secret in its query"),
    ],
)
def test_secrets_in_addresses_are_found_and_not_repeated(address: str, holds: str) -> None:
    said = refusal(address) or ""
    assert holds in said
    assert "PW" not in said


@pytest.mark.parametrize(
    "text",
    [
        "http://localhost:8000/v1",
        "http://[fe80::1]:8000/v1",
        "https://host/package@1.0/x.js?page=2&max_tokens_per_day=3",
        "hf://datasets/user/name@main/x.parquet",
        "abfs://container@account.dfs.core.windows.net/x",
        "gristmill:seeds/tasks.jsonl",
        "data/rows.jsonl",
        "Explain why http://user:pw@host/ is unwise.",
    ],
)
def test_what_holds_none_is_let_be(text: str) -> None:
    assert refusal(text) is None


@pytest.mark.parametrize(
    "url",
    [
        "http://host/v1@PW",
        "http://u:/PW@host",
        "http://host/v1?x=PW",
        "http://host/v1#PW",
        "http:///PW",
        "u:PW@host",
    ],
)
def test_an_engines_address_is_one_of_a_server_and_nothing_else(url: str) -> None:
    with pytest.raises(ValueError, match=r"key_env: MY_KEY|give an address such as") as refused:
        OpenAIOptions(url=url, model="m")
    assert "PW" not in refused.value.errors()[0]["msg"].replace("http:///PW", "")
