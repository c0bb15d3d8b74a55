from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

import gristmill
from gristmill.contracts.errors import DataError
from gristmill.filters.dedup.decontaminate import Decontaminate
from gristmill.filters.dedup.ngrams import words_of

LONG = "write a short story about a lighthouse keeper who finds a map in an old bottle on the shore"
OTHER = "explain to a child of seven years why the sky over the sea turns red in the evening sun"


def words(first: int, last: int) -> str:
    return " ".join(LONG.split()[first:last])


@pytest.fixture
def evals(context: Any, rows: Any) -> pa.Table:
    table = rows(prompt=[LONG, OTHER, "Name ten fish that live in cold rivers", "Sum 2 and 3"])
    context.tables["evals"] = table.set_column(0, "_id", pa.array(["e0", "e1", "e2", "e3"]))
    return context.tables["evals"]


CASES = [
    ("the item itself", LONG.upper() + "!", "e0", 1.0),
    ("thirteen words of it", "and so " + words(2, 15) + " and so on", "e0", 1 / 7),
    ("twelve words of it", "and so " + words(2, 14) + " and so on", None, 0.0),
    ("a short item inside another text", "Please: name ten fish that live in cold rivers, now", "e2", 1.0),
    ("a very short item as a whole", "sum 2 and 3.", "e3", 1.0),
    ("a very short item inside another text", "sum 2 and 3 and 4", None, 0.0),
    ("more of one item than of another", words(0, 13) + " then " + OTHER, "e1", 1.0),
    ("nothing in common", "what is a good name for a cat", None, 0.0),
    ("no text", None, None, 0.0),
]


@pytest.mark.parametrize(("what", "prompt", "item", "score"), CASES, ids=[case[0] for case in CASES])
def test_rows_that_share_text_name_the_item(
    context: Any, rows: Any, evals: pa.Table, what: str, prompt: str, item: str, score: float
) -> None:
    table = rows(prompt=pa.array(["unrelated", prompt], pa.string()), response=["x", "y"])
    result = Decontaminate(against="evals").apply(table, context)
    assert result.duplicate_of == [None, item]
    assert result.kept.tolist() == [True, item is None]
    assert result.score.tolist() == pytest.approx([0.0, score])
    assert result.summary["items"] == 4
    assert result.summary["contaminated_items"] == int(item is not None)


def test_responses_count_too_but_never_as_wholes(context: Any, rows: Any, evals: pa.Table) -> None:
    table = rows(prompt=["a", "b"], response=[f"Sure. {OTHER}.", "sum 2 and 3"])
    assert Decontaminate(against="evals").apply(table, context).duplicate_of == ["e1", None]
    prompts = Decontaminate(against=["evals"], columns=["prompt"]).apply(table, context)
    assert prompts.kept.all()


def test_an_ngram_never_reaches_over_two_texts(context: Any, rows: Any, evals: pa.Table) -> None:
    table = rows(prompt=[words(0, 7), words(7, 14)], response=[words(7, 14), "x"])
    assert Decontaminate(against="evals").apply(table, context).kept.all()


def test_an_ngram_never_reaches_over_two_rows(context: Any, rows: Any, evals: pa.Table) -> None:
    table = rows(prompt=[words(0, 9), words(9, 18)])
    assert Decontaminate(against="evals", columns=("prompt",)).apply(table, context).kept.all()


def test_a_threshold_lets_small_overlaps_stay(context: Any, rows: Any, evals: pa.Table) -> None:
    table = rows(prompt=[words(2, 15), words(0, 16), LONG])
    kept = [
        Decontaminate(against="evals", threshold=t).apply(table, context).kept.tolist() for t in (0, 0.5, 1)
    ]
    assert kept == [[False] * 3, [True, False, False], [True, True, False]]


def test_phrases_of_a_template_can_be_left_out(context: Any, rows: Any) -> None:
    phrase = "your answer must hold at least three sections and no commas and end with a question mark"
    subjects = ["volcanoes on the moon of a far planet", "bees", "bread", "the tides"]
    context.tables["evals"] = rows(prompt=[f"Write about {s}: {phrase}" for s in subjects])
    table = rows(prompt=[f"Describe maps. {phrase}", f"Write about bees: {phrase}", subjects[0]])
    strict = Decontaminate(against="evals").apply(table, context)
    assert strict.kept.tolist() == [False, False, True]
    loose = Decontaminate(against="evals", max_document_frequency=2).apply(table, context)
    assert loose.kept.tolist() == [True, False, True]
    assert loose.duplicate_of[1] == "r1"
    assert loose.summary["ignored_ngrams"] > 0


def test_several_steps_and_columns_of_their_own(context: Any, rows: Any, evals: pa.Table) -> None:
    more = rows(response=[OTHER + " again and again"])
    context.tables["more"] = more.set_column(0, "_id", pa.array(["m0"]))
    table = rows(prompt=["a"], response=[OTHER.split(" ", 1)[1] + " again and again"])
    result = Decontaminate(against=["evals", "more"]).apply(table, context)
    assert result.duplicate_of == ["m0"]
    assert [name for _, kind, name in Decontaminate(against=["evals", "more"]).references()] == [
        "evals",
        "more",
    ]


def test_tables_without_the_columns_are_refused(context: Any, rows: Any, evals: pa.Table) -> None:
    with pytest.raises(DataError, match="its rows have none of them; set `columns` to some of: text"):
        Decontaminate(against="evals").apply(rows(text=["a"]), context)
    with pytest.raises(DataError, match="its rows have none of them"):
        Decontaminate(against="evals", columns=("txt",)).check_columns(["text"])
    context.tables["evals"] = rows(riddle=["a"])
    with pytest.raises(DataError, match=r"evaluation items of 'evals' have none of them.*riddle"):
        Decontaminate(against="evals").apply(rows(prompt=["a"]), context)
    for wrong in ({"against": []}, {"against": "evals", "n": 3}, {"against": "evals", "threshold": 2}):
        with pytest.raises(ValidationError):
            Decontaminate(**wrong)


def test_a_source_without_files_forbids_nothing(context: Any, rows: Any) -> None:
    context.tables["evals"] = pa.table({})
    result = Decontaminate(against="evals").apply(rows(prompt=["a text"]), context)
    assert result.kept is None
    assert result.summary["items"] == 0


def test_a_run_without_evaluation_items_keeps_all_rows(tmp_path: Path) -> None:
    file = tmp_path / "pipeline.yaml"
    file.write_text(
        "gristmill: 1\nname: clean\nsteps:\n"
        "  evals: {source: jsonl, path: [], columns: [prompt]}\n"
        "  rows:  {source: constraints, split: train, rows: 5}\n"
        "  clean: {decontaminate: evals, columns: [prompt], from: rows}\n"
    )
    run = gristmill.run(file, tmp_path / "run")
    assert len(run["clean"]) == 5


def test_empty_tables(context: Any, rows: Any, evals: pa.Table) -> None:
    none = rows(prompt=pa.array([], pa.string()))
    assert len(Decontaminate(against="evals").apply(none, context).kept) == 0
    context.tables["evals"] = none
    assert Decontaminate(against="evals").apply(rows(prompt=[LONG]), context).kept.all()


sentences = st.lists(st.sampled_from("abc"), max_size=24).map(" ".join)


# The context is only read (or set anew) by each example.
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(items=st.lists(sentences, max_size=4), prompts=st.lists(sentences, min_size=1, max_size=12))
def test_no_kept_row_shares_an_ngram_and_every_other_does(
    context: Any, rows: Any, items: list[str], prompts: list[str]
) -> None:
    n = 9

    def grams(text: str, size: int) -> set[tuple[str, ...]]:
        split = words_of(text)
        return {tuple(split[i : i + size]) for i in range(len(split) - size + 1)}

    context.tables["evals"] = rows(prompt=pa.array(items, pa.string()))
    result = Decontaminate(against="evals", n=n).apply(rows(prompt=prompts), context)
    for row, prompt in enumerate(prompts):
        shares = []
        for item in items:
            size = min(n, len(words_of(item)))
            own = grams(item, size) if size >= 8 else set()
            share = len(own & grams(prompt, size)) / len(own) if own else 0.0
            same = bool(words_of(item)) and words_of(item) == words_of(prompt)
            shares.append(1.0 if same else share)
        best = max(shares, default=0.0)
        assert result.kept[row] == (best == 0)
        assert result.score[row] == pytest.approx(best)
        if best:
            assert shares[int(result.duplicate_of[row][1:])] == pytest.approx(best)


@pytest.mark.parametrize("as_json", [False, True])
def test_the_turns_of_conversations_count(context: Any, rows: Any, evals: pa.Table, as_json: bool) -> None:
    turns: list[Any] = [
        [{"role": "user", "content": "hello"}, {"role": "assistant", "content": f"Sure. {LONG}."}],
        [{"role": "user", "content": "what is a good name for a cat"}],
        None,
    ]
    if as_json:
        turns = [None if each is None else json.dumps(each) for each in turns]
    nothing = pa.nulls(3, pa.string())
    table = rows(prompt=nothing, response=nothing, messages=turns)
    assert Decontaminate(against="evals").apply(table, context).duplicate_of == ["e0", None, None]
    # Texts of conversation items are excluded too, in every column.
    context.tables["evals"] = rows(messages=turns)
    table = rows(prompt=["a", LONG])
    assert Decontaminate(against="evals").apply(table, context).duplicate_of == [None, "r0"]
    result = Decontaminate(against="evals", columns=("messages",)).apply(rows(messages=turns), context)
    assert result.duplicate_of == ["r0", "r1", None]


def test_the_parts_of_a_turn_are_read(context: Any, rows: Any, evals: pa.Table) -> None:
    parts = [[{"role": "user", "content": [{"type": "text", "text": LONG}]}]]
    assert Decontaminate(against="evals").apply(rows(messages=parts), context).duplicate_of == ["e0"]


def test_columns_that_nobody_named_need_not_be_text(context: Any, rows: Any, evals: pa.Table) -> None:
    table = rows(prompt=["a", LONG], answer=[5, 7], input=[["x"], None])
    assert Decontaminate(against="evals").apply(table, context).duplicate_of == [None, "e0"]
    with pytest.raises(DataError, match="needs text in the column 'answer', which holds int64"):
        Decontaminate(against="evals", columns=["prompt", "answer"]).apply(table, context)


def test_columns_none_of_which_is_text_are_one_clear_error(context: Any, rows: Any, evals: pa.Table) -> None:
    """Nothing would be compared, and every contaminated row would seem clean."""
    table = rows(prompt=[[{"role": "user", "text": LONG}]], response=[[1]])
    with pytest.raises(DataError, match=r"none of its columns holds text: prompt holds list.*unify: auto"):
        Decontaminate(against="evals").apply(table, context)


#: 60 characters, of which commas and digits make four runs.
CHINESE = (
    "小明的妈妈在市场上买了许多新鲜的苹果和梨子，她把其中的一半分给了住在隔壁的邻居，"
    "剩下的水果又被孩子们吃掉了12个，请问现在还剩下多少个水果"
)


def test_languages_without_spaces_are_compared_by_their_characters(context: Any, rows: Any) -> None:
    thai = "วันนี้อากาศเป็นอย่างไรบ้างในกรุงเทพ"
    context.tables["evals"] = rows(prompt=[CHINESE, thai, "天气怎么样"])
    table = rows(
        prompt=[
            f"请回答：{CHINESE}",
            f"ถาม: {thai} ครับ",
            "今天天气怎么样",
            "天气怎么样？",
        ]
    )
    result = Decontaminate(against="evals").apply(table, context)
    assert result.duplicate_of == ["r0", "r1", None, "r2"]
    assert result.score.tolist() == [1, 1, 0, 1]
    assert result.summary["hits"][0]["text"].startswith("…小明的妈妈")


def test_items_without_ngrams_are_counted(context: Any, rows: Any) -> None:
    context.tables["evals"] = rows(prompt=[LONG, "Sum 2 and 3", "sum 2 and 3!", "😀"], response=["x"] * 4)
    summary = Decontaminate(against="evals").apply(rows(prompt=["a"]), context).summary
    assert (summary["only_whole_items"], summary["unseen_items"]) == (2, 1)


def test_a_short_item_of_another_operation_is_another_item(context: Any, rows: Any) -> None:
    asked = ["What is 3 + 5?", "What is 3 - 5?", "What is -3 + 5?", "What is 3 × 5?"]
    context.tables["evals"] = rows(prompt=asked)
    table = rows(
        prompt=["what is 3+5", "**What** is 3 −5", "What is 3 / 5?", "What is -3+5?", "What is 3 * 5"]
    )
    result = Decontaminate(against="evals").apply(table, context)
    assert result.duplicate_of == ["r0", "r1", None, "r2", "r3"]


def test_ngrams_are_found_across_formatting(context: Any, rows: Any, evals: pa.Table) -> None:
    formatted = [
        LONG.replace("short story", "**short story**").replace("finds", "- *finds* -"),
        "> " + LONG.replace(" who", "\n> who").replace("old bottle", "“old — bottle”"),
        "* " + LONG.replace(" ", " + "),
    ]
    result = Decontaminate(against="evals").apply(rows(prompt=formatted), context)
    assert result.score.tolist() == [1, 1, 1]
