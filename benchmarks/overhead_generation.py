"""One case of the generation benchmark, in a separate process: ours|raw PROMPTS.

Prints {"tokens", "seconds"}: completion tokens and the wall time of their generation, without the start of
the engine. Both sides send the same prompts with the same seeds, and must generate 64 tokens per prompt.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path

MODEL = "smollm2-135m-instruct"
TOKENS = 64
SEQUENCES = 128


def prompts(count: int) -> list[str]:
    subjects = ["bread", "rivers", "winter", "engines", "maps", "gardens", "music", "bridges"]
    forms = [
        "Write a long story about {}.",
        "Explain everything you know about {}.",
        "List forty facts about {}.",
    ]
    return [f"{forms[n % 3].format(subjects[n % 8])} Begin with the number {n}." for n in range(count)]


def ours(count: int) -> tuple[int, float]:
    from step_clock import StepClock

    import gristmill

    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "prompts.jsonl"
        rows.write_text("".join(json.dumps({"prompt": prompt}) + "\n" for prompt in prompts(count)))
        file = Path(folder) / "overhead.yaml"
        file.write_text(
            f"gristmill: 1\nname: overhead\nmodels: {{base: {{path: {MODEL}, max_num_seqs: "
            f"{SEQUENCES}}}}}\nsteps:\n"
            f"  prompts: {{source: jsonl, path: '{rows}'}}\n"
            f"  answers: {{generate: respond, from: prompts, model: base, max_tokens: {TOKENS}, "
            f"temperature: 0.8}}\n"
        )
        clock = StepClock("answers")
        run = gristmill.run(file, Path(folder) / "run", observer=clock)
        tokens = run["answers"].store.usage().completion_tokens
    return tokens, clock.seconds


def raw(count: int) -> tuple[int, float]:
    os.environ |= {
        "VLLM_CPU_KVCACHE_SPACE": "2",
        "VLLM_CPU_OMP_THREADS_BIND": f"0-{(os.cpu_count() or 2) - 1}",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_LOGGING_LEVEL": "WARNING",
        "HF_HUB_OFFLINE": "1",
    }
    from gristmill.pipelines.weights import resolve

    path = str(resolve(MODEL).path)
    from vllm import LLM, SamplingParams

    engine = LLM(
        path,
        dtype="bfloat16",
        max_model_len=2048,
        max_num_seqs=SEQUENCES,
        enforce_eager=True,
        # On a CPU, vLLM 0.32 crashes on a seeded request whose prompt is prefilled in two parts.
        enable_chunked_prefill=False,
        max_num_batched_tokens=4096,
    )
    messages = [[{"role": "user", "content": prompt}] for prompt in prompts(count)]
    sampling = [SamplingParams(temperature=0.8, max_tokens=TOKENS, seed=n) for n in range(count)]
    started = time.monotonic()
    outputs = engine.chat(messages, sampling, use_tqdm=False)
    seconds = time.monotonic() - started
    return sum(len(output.outputs[0].token_ids) for output in outputs), seconds


def main() -> None:
    name, count = sys.argv[1], int(sys.argv[2])
    tokens, seconds = {"ours": ours, "raw": raw}[name](count)
    print(json.dumps({"tokens": tokens, "seconds": seconds}), flush=True)


if __name__ == "__main__":
    main()
