"""One case of the endpoint benchmark, in a process of its own: ours|distilabel|curator URL REQUESTS AT_ONCE.

Prints {"seconds", "answered", "tokens"}: the time from the first request to the last answer, the prompts that
have one, and the completion tokens that the client says were spent. Each client gets the same prompts and the
same limit on requests in flight, with its defaults otherwise.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

MAX_TOKENS = 80


def prompts(count: int) -> list[str]:
    return [f"Question {number}: what is {number} plus {number * 7}?" for number in range(count)]


def ours(url: str, count: int, at_once: int) -> dict[str, Any]:
    from step_clock import StepClock

    import gristmill

    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "prompts.jsonl"
        rows.write_text("".join(json.dumps({"prompt": prompt}) + "\n" for prompt in prompts(count)))
        file = Path(folder) / "endpoint.yaml"
        file.write_text(
            f"gristmill: 1\nname: endpoint\n"
            f"models: {{m: {{engine: openai, url: '{url}', model: m, concurrency: {at_once}}}}}\nsteps:\n"
            f"  prompts: {{source: jsonl, path: '{rows}'}}\n"
            f"  answers: {{generate: respond, from: prompts, model: m, max_tokens: {MAX_TOKENS}}}\n"
        )
        clock = StepClock("answers")
        run = gristmill.run(file, Path(folder) / "run", observer=clock)
        kept, usage = run["answers"].store.ledger().kept, run["answers"].store.usage()
    return {"seconds": clock.seconds, "answered": kept, "tokens": usage.completion_tokens}


def distilabel(url: str, count: int, at_once: int) -> dict[str, Any]:
    from distilabel.models import OpenAILLM

    llm = OpenAILLM(model="m", base_url=url, api_key="none", generation_kwargs={"max_new_tokens": MAX_TOKENS})
    llm.load()
    inputs = [[{"role": "user", "content": prompt}] for prompt in prompts(count)]
    answered = tokens = 0
    started = time.monotonic()
    # As its pipeline does: batches of as many inputs as are to be in flight. One that fails fails whole.
    for start in range(0, count, at_once):
        try:
            outputs = llm.generate_outputs(
                inputs=inputs[start : start + at_once], **llm.get_generation_kwargs()
            )
        except Exception as error:
            print(f"a batch failed: {type(error).__name__}: {error}"[:200], file=sys.stderr)
            continue
        for output in outputs:
            answered += output["generations"][0] is not None
            tokens += sum(output["statistics"]["output_tokens"])
    return {"seconds": time.monotonic() - started, "answered": answered, "tokens": tokens}


def curator(url: str, count: int, at_once: int) -> dict[str, Any]:
    found = importlib.util.find_spec("litellm")
    assert found is not None
    assert found.origin is not None
    os.environ |= {
        "OPENAI_API_KEY": "none",
        "TELEMETRY_ENABLED": "false",
        "CURATOR_DISABLE_RICH_DISPLAY": "1",
        # The tokenizer that it counts with, which it would fetch, is part of this package.
        "TIKTOKEN_CACHE_DIR": str(Path(found.origin).parent / "litellm_core_utils/tokenizers"),
    }
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CURATOR_CACHE_DIR"] = folder
        from bespokelabs import curator as theirs

        llm = theirs.LLM(
            model_name="m",
            backend="openai",
            generation_params={"max_tokens": MAX_TOKENS},
            backend_params={
                "base_url": url,
                "max_concurrent_requests": at_once,
                "max_requests_per_minute": 1_000_000,
                "max_tokens_per_minute": 1_000_000_000,
                "require_all_responses": False,
            },
        )
        started = time.monotonic()
        made = llm(prompts(count))
        seconds = time.monotonic() - started
        data = getattr(made, "dataset", made)
        answered = sum(row.get("response") is not None for row in data)
    return {"seconds": seconds, "answered": answered, "tokens": 0}


def main() -> None:
    name, url, count, at_once = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    case = {"ours": ours, "distilabel": distilabel, "curator": curator}[name]
    print(json.dumps(case(url, count, at_once)), flush=True)


if __name__ == "__main__":
    main()
