"""The recipe that trains on three kinds of instructions and then on preferences, with a scripted teacher."""

from __future__ import annotations

import re
from typing import Any

import pytest


@pytest.mark.engine
def test_each_training_learns_its_own_scheme_and_goes_on_from_the_one_before(
    recipe: Any, make_model: Any
) -> None:
    asked_by: list[str] = []

    def teacher(messages: list[dict[str, str]], seed: int) -> str:
        prompt = messages[-1]["content"]
        if "Overall: yes" in prompt:
            return f"1. Yes.\nOverall: {'no' if 'task 2' in prompt else 'yes'}"
        if "more instructions of the same format" in prompt:
            return "1. Do new task 1.\n2. Do new task 2.\n3. Do new task 3."
        if "<task>" in prompt:
            number = re.search(r"task (\d)", prompt)[1]  # type: ignore[index]
            return f"<task>Do hard task {number}.</task>"
        if messages[0]["role"] == "system":
            asked_by.append(messages[0]["content"])
        return f"Done: {prompt}"

    model = make_model(max_position_embeddings=1024)
    run = recipe(
        "openbezoar",
        teacher,
        {"requests": 1, "systems": ["Explain.", "Think."]},
        f"models.base={{engine: transformers, path: '{model}', max_model_len: 512}}",
        talk=True,
        seeds=[{"prompt": f"Do seed task {n}."} for n in (1, 2, 3)],
        # The judge refuses all but the first. So many draws take each of the two system prompts.
        tasks=[{"prompt": f"Do known task {n}."} for n in (1, 2, *range(20, 28))],
        pairs=[{"prompt": f"Say {n}.", "chosen": f"It is {n}.", "rejected": "No."} for n in range(4)],
    )
    made: dict[str, list[str]] = {}
    for row in run["distinct"].to_arrow().to_pylist():
        made.setdefault(row["scheme"], []).append(row["prompt"])
        assert row["response"] == f"Done: {row['prompt']}"
        assert (row["system"] in ("Explain.", "Think.")) is (row["scheme"] == "orca")
    assert {scheme: set(prompts) for scheme, prompts in made.items()} == {
        "lamini": {"Do new task 1.", "Do new task 3."},
        "evol": {"Do hard task 1.", "Do hard task 3."},
        "orca": {"Do known task 1."},
    }, "what the judge refuses is left out"
    assert set(asked_by) == {"Explain.", "Think."}
    learnt = {
        name: run[name].store.ledger().rows_in
        for name in ("after_lamini", "after_evol", "after_orca", "aligned", "student")
    }
    assert learnt == {"after_lamini": 2, "after_evol": 4, "after_orca": 2, "aligned": 4, "student": 4}
    digests = [(run[name].store.model / "adapter_model.safetensors").read_bytes() for name in learnt]
    assert len(set(digests)) == 5
