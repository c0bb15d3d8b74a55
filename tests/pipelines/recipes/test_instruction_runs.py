"""Recipes for instructions and conversations, run completely: only the teacher is scripted."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

import pytest

from gristmill.contracts.rows import messages_of
from gristmill.filters.dedup.semantic import SemanticDedup
from gristmill.pipelines.file.load import load

Messages = list[dict[str, str]]


def by_text(recipe: str) -> list[str]:
    """Overrides that make only equal texts duplicates in recipes with an embedder."""
    return [
        f"steps.{step.name}="
        + json.dumps({"dedup": "exact", "columns": step.operator.columns, "from": step.inputs})
        for step in load(recipe).steps.values()
        if isinstance(step.operator, SemanticDedup)
    ]


def told(rows: list[dict[str, Any]]) -> dict[str, str]:
    """Prompt -> response of exported single-turn conversations."""
    pairs = [[turn["content"] for turn in messages_of(row)] for row in rows]
    assert all(len(pair) == 2 for pair in pairs)
    assert len({prompt for prompt, _ in pairs}) == len(pairs)
    return dict(pairs)  # type: ignore[arg-type]


def bullets(prompt: str) -> list[str]:
    return re.findall(r"^- (.+)$", prompt, re.M)


def test_lamini(recipe: Any, exported: Any) -> None:
    """Half of the requests name topics; tasks that are too short or repeated are dropped."""
    asked: list[str] = []

    def teacher(prompt: str, seed: int) -> str:
        if "more instructions of the same format" in prompt:
            asked.append(prompt)
            tasks = f"Write letter {len(asked)} to the editor.", "Too short.", "Explain the tides to a child."
            return "\n".join(f"{number}. {task}" for number, task in enumerate(tasks, 1))
        return f"Done: {prompt}"

    seeds = [{"prompt": f"Do the known task {n}."} for n in range(5)]
    topics = ["tea", "chess", "rivers", "bread"]
    variables = {"requests": 8, "tasks": 3, "topics": topics}
    recipe("lamini", teacher, variables, *by_text("lamini"), seeds=seeds)
    found = told(exported("dataset"))
    wanted = [*(f"Write letter {n} to the editor." for n in range(1, 9)), "Explain the tides to a child."]
    assert found == {prompt: f"Done: {prompt}" for prompt in wanted}
    assert all(len(set(bullets(prompt))) == 3 for prompt in asked)
    assert {example for prompt in asked for example in bullets(prompt)} <= {row["prompt"] for row in seeds}
    named = [re.search(r"all about these topics: (.+)\.", prompt) for prompt in asked]
    assert 0 < sum(each is not None for each in named) < len(asked)
    for each in named:
        assert each is None or len(set(each[1].split(", ")) & set(topics)) == 3
    assert all("Write 3 more instructions" in prompt for prompt in asked)


def test_instruct_skillmix(recipe: Any, exported: Any) -> None:
    """Each request needs two skills that the model named; requests with short answers are dropped."""
    mixed: list[list[str]] = []

    def teacher(prompt: str, seed: int) -> str:
        if field := re.search(r"answer requests about (\w+) well", prompt):
            return f"1. weighing {field[1]} arguments\n2. art\n3. naming {field[1]} sources"
        if "must show all of these skills" in prompt:
            mixed.append(bullets(prompt))
            return f"<task>Request {len(mixed)}: {' with '.join(mixed[-1])}.</task>"
        return "Briefly." if prompt.startswith("Request 2:") else f"{prompt} " + "word " * 40

    variables = {"rows": 6, "lists": 6, "fields": ["cooking", "law"]}
    run = recipe("instruct_skillmix", teacher, variables, *by_text("instruct_skillmix"))
    skills = [row["skill"] for row in run["skills"].to_arrow().to_pylist()]
    assert sorted(skills) == sorted(
        f"{what} {field} {of}"
        for field in ("cooking", "law")
        for what, of in (("weighing", "arguments"), ("naming", "sources"))
    )
    assert len(mixed) == 6
    assert all(len(set(pair)) == 2 and set(pair) <= set(skills) for pair in mixed)
    assert len({frozenset(pair) for pair in mixed}) > 1
    found = told(exported("dataset"))
    assert set(found) == {f"Request {n}: {' with '.join(pair)}." for n, pair in enumerate(mixed, 1) if n != 2}


def test_code_evol_instruct(recipe: Any, exported: Any) -> None:
    """Task 1 gets harder twice. Task 2 stays the same, and task 3 becomes a task that asks for the same.

    The answer to 2 contains no code, and the answer to 3 does not compile.
    """
    count: Counter[str] = Counter()

    def teacher(messages: Messages, seed: int) -> str:
        prompt = messages[-1]["content"]
        number = re.search(r"plus(\d)", prompt)[1]  # type: ignore[index]
        if "a little more difficult" in prompt:
            task = re.search(r"<task>\n(.+)\n</task>", prompt)[1]  # type: ignore[index]
            count[number] += 1
            return f"<task>{task}</task>" if number == "2" else f"<task>{task} Step {count[number]}.</task>"
        if "Answer with one word" in prompt:
            return "Same." if number == "3" else "They are different."
        assert messages[0]["content"].startswith("Answer with one Python code block")
        code = {"1": "```python\nx = 1\n```", "2": "x = 2", "3": "```python\nx = (3\n```"}
        return f"So:\n{code[number]}"

    seeds = [{"prompt": f"Write the function plus{n}, please."} for n in (1, 2, 3)]
    recipe(
        "code_evol_instruct", teacher, {"copies": 2}, *by_text("code_evol_instruct"), talk=True, seeds=seeds
    )
    task = "Write the function plus1, please."
    found = told(exported("dataset"))
    depths = Counter(prompt.count("Step") for prompt in found)
    assert depths == {0: 1, 1: 2, 2: 2}
    assert all(prompt.startswith(task) for prompt in found)
    assert all(prompt.rpartition(" Step")[0] in found for prompt in found if prompt != task)


def test_self_instruct_about_a_domain_with_three_examples_is_bioinstruct(recipe: Any, exported: Any) -> None:
    """New tasks become examples; tasks that need a picture or resemble a known task are dropped."""
    asked: list[list[str]] = []

    def teacher(prompt: str, seed: int) -> str:
        if "tasks that people gave to an assistant" not in prompt:
            return f"Done: {prompt}"
        assert "Write 4 new tasks about biomedicine." in prompt
        assert prompt.startswith("Here are 3 tasks")
        asked.append(bullets(prompt))
        n = len(asked)
        return (
            f"1. Name drug{n} interactions{n} briefly{n}.\n2. Describe what this picture shows about cells.\n"
            f"3. Explain how enzyme number 1 works.\n4. Compare trial{n} and placebo{n} outcomes{n}."
        )

    seeds = [{"prompt": f"Explain how enzyme number {n} works."} for n in range(1, 2)]
    seeds += [{"prompt": f"{verb} it."} for verb in ("Define osmosis and give", "List viral proteins in")]
    variables = {"domain": "biomedicine", "examples": 3, "requests": 4, "tasks": 4}
    recipe("self_instruct", teacher, variables, *by_text("self_instruct"), seeds=seeds)
    new = [
        task
        for n in range(1, 9)
        for task in (
            f"Name drug{n} interactions{n} briefly{n}.",
            f"Compare trial{n} and placebo{n} outcomes{n}.",
        )
    ]
    known = [row["prompt"] for row in seeds]
    found = told(exported("dataset"))
    assert found == {prompt: f"Done: {prompt}" for prompt in (*known, *new)}
    assert all(len(set(examples)) == 3 for examples in asked)
    assert {example for examples in asked[:4] for example in examples} == set(known)
    assert {example for examples in asked[4:] for example in examples} & set(new[:8])


@pytest.mark.engine
def test_bare(recipe: Any, exported: Any, make_model: Any, save_tokenizer: Any) -> None:
    """A random base model without a chat template drafts; the teacher refines each draft, the first into a
    known seed, which is dropped.
    """
    refined: list[str] = []
    seeds = [{"prompt": f"Do the known task {n}."} for n in range(4)]

    def teacher(prompt: str, seed: int) -> str:
        if "rough draft" not in prompt:
            return f"Done: {prompt}"
        refined.append(re.search(r"<draft>\n(.*)\n</draft>", prompt, re.S)[1])  # type: ignore[index]
        made = seeds[0]["prompt"] if len(refined) == 1 else f"Do the new task {len(refined)}."
        return f"<task>{made}</task>"

    base = make_model(max_position_embeddings=1024)
    (base / "chat_template.jinja").unlink(missing_ok=True)
    save_tokenizer(base, None)
    run = recipe(
        "bare", teacher, {"rows": 5},
        f"models.base={{engine: transformers, path: '{base}', max_model_len: 512}}",
        *by_text("bare"), seeds=seeds,
    )  # fmt: skip
    drafts = {row["draft"]: row for row in run["drafts"].to_arrow().to_pylist()}
    assert len(refined) > 2
    assert set(refined) <= set(drafts)
    for row in drafts.values():
        shown = [each["prompt"] for each in row["examples"]]
        assert len(set(shown)) == 3
        assert set(shown) <= {each["prompt"] for each in seeds}
    found = told(exported("dataset"))
    wanted = [f"Do the new task {n}." for n in range(2, len(refined) + 1)]
    assert found == {prompt: f"Done: {prompt}" for prompt in wanted}


@pytest.mark.engine
def test_realchat(recipe: Any, exported: Any, make_model: Any) -> None:
    """A model that learned users' turns talks for two rounds; a student learns the answers."""
    heard: list[Messages] = []

    def assistant(messages: Messages, seed: int) -> str:
        heard.append(messages)
        return f"Answer {len(heard)}."

    conversations = [
        {"messages": [{"role": "user", "content": f"Why {n}?"}, {"role": "assistant", "content": f"So {n}."}]}
        for n in range(4)
    ]
    base = make_model(max_position_embeddings=1024)
    run = recipe(
        "realchat", assistant, {"chats": 4, "rows": 3},
        f"models.base={{engine: transformers, path: '{base}', max_model_len: 900}}", *by_text("realchat"),
        talk=True, model="assistant", conversations=conversations,
    )  # fmt: skip
    assert run["user"].store.ledger().rows_in == 3
    held = [messages_of(row) for row in exported("dataset")]
    assert len(held) > 1
    assert run["student"].store.ledger().rows_in == len(held)
    for turns in held:
        assert [turn["role"] for turn in turns] == ["user", "assistant"] * 2
        assert turns[:3] in heard, "the second answer is to the whole conversation"
        answers = [int(turn["content"].removeprefix("Answer ").rstrip(".")) for turn in turns[1::2]]
        assert turns[:1] == heard[answers[0] - 1]
        assert turns[:3] == heard[answers[1] - 1]
        assert turns[0]["content"] != turns[2]["content"]
    found = load("realchat").steps
    assert [found[name].operator.train_on for name in ("user", "student")] == ["user", "assistant"]


def test_a_simulated_user_who_says_again_what_was_said_is_stuck(context: Any) -> None:
    import pyarrow as pa

    [keep] = [step.operator for step in load("realchat").steps.values() if step.verb == "keep"]
    said = ["Why?", "How so?", " WHY? "]
    rows = [
        {
            "_id": f"r{number}",
            "said": text,
            "messages": [
                {"role": role, "content": content}
                for role, content in (("user", "Why?"), ("assistant", "So."), ("user", text))
            ],
        }
        for number, text in enumerate(said)
    ]
    assert keep.apply(pa.Table.from_pylist(rows), context).kept.tolist() == [False, True, False]


def test_personas(recipe: Any, exported: Any) -> None:
    """Those inferred and those who know them ask, each once; what is drawn is in the question."""
    described: Counter[str] = Counter()
    asked: list[str] = []

    def teacher(prompt: str, seed: int) -> str:
        if "Who is likely to write, read" in prompt:
            text = prompt.split("\n")[0]
            described[text] += 1
            # The second description of each text repeats the first.
            return f"<persona>Someone who knows all about {text}</persona>"
        if "Describe in a sentence or two another person" in prompt:
            known = re.search(r"about (.*)", prompt)[1]  # type: ignore[index]
            return (
                "<persona>too short</persona>"
                if "tea" in known
                else f"<persona>Kin of who knows {known}</persona>"
            )
        if "Write only the request" in prompt:
            asked.append(prompt)
            return f"<request>{' '.join(f'word{len(asked)}x{n}' for n in range(8))}</request>"
        return f"Done: {prompt}"

    texts = [{"text": text} for text in ("the history of tea", "the building of bridges")]
    kinds = ["logic", "mathematics", "instruction", "knowledge"]
    run = recipe("personas", teacher, {"prompts": 6, "kinds": kinds}, *by_text("personas"), texts=texts)
    assert set(described.values()) == {2}
    tea, bridges = (f"Someone who knows all about {row['text']}" for row in texts)
    people = {tea, bridges, "Kin of who knows the building of bridges"}
    assert Counter(run["people"].to_arrow()["persona"].to_pylist()) == dict.fromkeys(people, 1)

    rows = run["asking"].to_arrow().to_pylist()
    assert len(rows) == len(asked) == 18
    assert all(12 <= row["age"] <= 90 and row["age"] == int(row["age"]) for row in rows)
    assert {row["kind"] for row in rows} == set(kinds)
    for row in rows:
        many = {"logic": range(3, 7), "mathematics": range(2, 5)}.get(row["kind"], range(1, 4))
        assert row["sentences"] in many
        moods = {"instruction": {"in a hurry", "relaxed", "annoyed"}, "knowledge": {"curious", "doubtful"}}
        assert row["mood"] in moods.get(row["kind"], {"focused"})
        about = f"about {row['age']:.0f} years, who is {row['mood']}: {row['persona']}\n"
        assert any(about in prompt and f"about {row['sentences']} sentence" in prompt for prompt in asked)

    made = exported("dataset")
    assert len(made) == 18
    assert told(made).keys() == {row["prompt"] for row in run["asked"].to_arrow().to_pylist()}
    assert {row["persona"] for row in made} == people
