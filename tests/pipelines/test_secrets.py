from __future__ import annotations

from gristmill.pipelines.report.secrets import HIDDEN, scrub, without_secrets


def test_texts_under_a_keys_name_are_hidden_at_any_depth() -> None:
    value = {
        "api_key": "sk-1",
        "nested": [{"Password": "p", "max_tokens": 5, "token": "t"}],
        "url": "http://x",
    }
    assert without_secrets(value) == {
        "api_key": HIDDEN,
        "nested": [{"Password": HIDDEN, "max_tokens": 5, "token": HIDDEN}],
        "url": "http://x",
    }


def test_values_of_the_environments_keys_are_hidden_even_inside_text_and_as_html() -> None:
    environment = {"MY_API_KEY": "abc<&>12345", "HF_TOKEN": "hf_0123456789", "HOME": "/home/somebody"}
    text = "abc<&>12345 abc&lt;&amp;&gt;12345 bearer hf_0123456789 /home/somebody"
    assert scrub(text, environment) == f"{HIDDEN} {HIDDEN} bearer {HIDDEN} /home/somebody"


def test_short_values_are_words_not_keys() -> None:
    assert scrub("this is false", {"SOME_TOKEN": "false"}) == "this is false"
