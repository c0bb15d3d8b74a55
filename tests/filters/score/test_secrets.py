from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from gristmill.filters.score.secrets import Secrets

LETTERS = "aB3dE5gH7jK9mN1pQ2rS4tU6vW8xY0zAbCdEfGhIjKlMnOpQrStUvWxYz"
# Written in parts, so that no scanner takes this file for a leak.
FOUND = {
    "aws_key": "AKIA" + "IOSFODNN7EXAMPLE",
    "github_token": "ghp_" + LETTERS[:36],
    "gitlab_token": "glpat-" + LETTERS[:20],
    "google_key": "AIza" + LETTERS[:35],
    "huggingface_token": "hf_" + LETTERS[:34],
    "jwt": "eyJhbGciOiJIUzI1NiJ9" + ".eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N",
    "openai_key": "sk-proj-" + LETTERS[:48],
    "slack_token": "xoxb-" + "1234567890-abcdefghijkl",
    "stripe_key": "sk_live_" + LETTERS[:24],
}
KEY = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nIBAAKCAQEA\n-----END RSA PRIVATE KEY-----"


def scored(text: str, context: Any) -> tuple[int, list[str], str]:
    columns = Secrets(replace=True).open(context)(pa.table({"response": [text]})).columns
    return tuple(columns[name][0].as_py() for name in ("secrets", "secrets_kinds", "response"))  # type: ignore[return-value]


@pytest.mark.parametrize(("kind", "value"), FOUND.items())
def test_known_forms_are_found_and_masked(kind: str, value: str, context: Any) -> None:
    count, kinds, masked = scored(f'client = connect("{value}")\n', context)
    assert (count, kinds) == (1, [kind])
    assert masked == f'client = connect("[{kind.upper()}]")\n'


def test_a_private_key_is_masked_as_a_whole(context: Any) -> None:
    assert scored(f"key:\n{KEY}\nend", context) == (1, ["private_key"], "key:\n[PRIVATE_KEY]\nend")


def test_a_password_in_an_address_is_masked_alone(context: Any) -> None:
    count, kinds, masked = scored("git clone https://anna:hunter22@git.uni-mitte.de/x", context)
    assert (count, kinds) == (1, ["password"])
    assert masked == "git clone https://anna:[PASSWORD]@git.uni-mitte.de/x"


@pytest.mark.parametrize(
    "text",
    [
        'password = os.environ["PASSWORD"]',
        "commit 3f921b6a7c5d8e9f0a1b2c3d4e5f60718293a4b5",
        "the sha256 is e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "An internationalization_framework_for_applications.",
        "api_key = 'YOUR_API_KEY_GOES_IN_THIS_PLACE'",
    ],
)
def test_what_only_looks_long_is_left_alone(text: str, context: Any) -> None:
    assert scored(text, context) == (0, [], text)


def test_two_in_one_long_line_are_both_found(context: Any) -> None:
    key = FOUND["aws_key"]
    for before in (0, 3_990, 3_999, 4_100, 4_395, 4_405, 9_000):
        text = f"{'x ' * (before // 2)}{key} {'y ' * 3000}{key}"
        assert scored(text, context)[:2] == (2, ["aws_key"])


def test_rows_without_text_have_null(context: Any) -> None:
    table = pa.table({"response": pa.array([None, "fine"], pa.string())})
    columns = Secrets().open(context)(table).columns
    assert columns["secrets"].to_pylist() == [None, 0]
    assert list(columns) == ["secrets", "secrets_kinds"]
