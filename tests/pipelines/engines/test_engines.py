"""Finding engines and checking their options, without starting any."""

from __future__ import annotations

import subprocess
import sys

import pytest

from gristmill.contracts.errors import ModelError
from gristmill.contracts.inference import EngineSettings
from gristmill.pipelines import engines

HEAVY = ("torch", "vllm", "transformers", "httpx", "numpy")


def test_asking_what_engines_can_do_imports_nothing_heavy(tmp_path: object) -> None:
    code = (
        "import sys; from gristmill.pipelines import engines\n"
        "[engines.capabilities_of(k, {'url': 'http://x/v1', 'model': 'm'} if k == 'openai' else {}) "
        "for k in engines.KINDS]\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_unknown_engine_gets_the_nearest_name() -> None:
    with pytest.raises(ModelError, match=r"unknown engine 'vlm'; did you mean 'vllm'\? The"):
        engines.start(EngineSettings("vlm", None))


def test_all_mistakes_in_the_options_are_named_at_once() -> None:
    with pytest.raises(ModelError) as caught:
        engines.capabilities_of("vllm", {"max_modle_len": 5, "max_num_seqs": 0})
    message = str(caught.value)
    assert "unknown option 'max_modle_len'; did you mean 'max_model_len'?" in message
    assert "max_num_seqs: must be at least 1" in message


def test_an_engine_that_loads_weights_asks_for_them() -> None:
    with pytest.raises(ModelError, match="engine 'transformers' needs weights on disk"):
        engines.start(EngineSettings("transformers", None))


def test_capabilities_follow_the_options() -> None:
    server = {"url": "http://localhost:1/v1", "model": "m"}
    assert "regex" not in engines.capabilities_of("openai", server)
    assert {"regex", "prompt_tokens"} <= engines.capabilities_of("openai", server | {"flavor": "vllm"})
    assert engines.capabilities_of("openai", server | {"supports": ["stop"]}) == {"stop"}
    assert "json_schema" in engines.capabilities_of("vllm")
    assert "json_schema" not in engines.capabilities_of("transformers")


@pytest.mark.parametrize("kind", engines.KINDS)
def test_every_engine_describes_its_options(kind: str) -> None:
    assert engines.options_of(kind).model_json_schema()["additionalProperties"] is False
