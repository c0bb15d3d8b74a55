"""Chunks: their length, their places, and where they are cut."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from tokenizers import Tokenizer, models, pre_tokenizers

from gristmill.contracts.errors import DataError, MissingPackage
from gristmill.contracts.inference import ModelWeights
from gristmill.contracts.outcomes import Failed, Filtered
from gristmill.datagen.documents import chunk as chunk_module
from gristmill.datagen.documents.chunk import Chunk
from gristmill.datagen.documents.splitting import Splitter

WORDS = "The stone turns slowly over the grain and the flour falls into the sack below it. "


def chunks(step: Chunk, context: Any, row: dict[str, Any]) -> list[dict[str, Any]]:
    [made] = asyncio.run(step.open(context)([{"_id": "r", **row}]))
    return [dict(outcome.row) for outcome in made]


@pytest.fixture
def words(tmp_path: Path) -> Path:
    """A tokenizer of whole words."""
    made = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    return tmp_path


@given(
    st.lists(
        st.sampled_from([WORDS, "\n\n", "# Head\n\n", "word ", "Mühle 磨坊 ", "- item\n", "\n"]), min_size=1
    )
)
def test_chunks_are_spans_of_the_text_in_order_and_lose_no_word(parts: list[str]) -> None:
    text = "".join(parts)
    for pieces in (Splitter(None, 16, 0).markdown(text), Splitter(None, 16, 0).plain(text)):
        assert all(text[piece.start : piece.stop] == piece.text for piece in pieces)
        assert all(one.stop <= other.start for one, other in itertools.pairwise(pieces))
        assert "".join("".join(piece.text.split()) for piece in pieces) == "".join(text.split())
        assert all(Splitter(None, 16, 0).count(piece.text) <= 16 for piece in pieces)


def test_the_named_tokenizer_counts_and_neighbors_overlap(words: Path, context: Any) -> None:
    text = WORDS * 12
    made = chunks(Chunk(size=40, overlap=18, tokenizer=str(words)), context, {"text": text})
    assert all(row["tokens"] <= 40 for row in made)
    assert made[0]["tokens"] > 30
    assert all(row["text"] == text[row["start"] : row["stop"]] for row in made)
    shared = [one["stop"] - other["start"] for one, other in itertools.pairwise(made)]
    assert min(shared) >= len(WORDS) - 1
    assert [row["chunk"] for row in made] == list(range(len(made)))
    assert (
        chunks(Chunk(size=40, tokenizer=str(words)), context, {"text": text})[1]["start"] >= made[0]["stop"]
    )


def test_the_tokenizer_of_a_model_counts(words: Path, context: Any) -> None:
    context.models["base"] = ModelWeights("base", words, "d")
    row = {"text": WORDS * 12}
    by_model = chunks(Chunk(size=40, model="base"), context, row)
    assert by_model == chunks(Chunk(size=40, tokenizer=str(words)), context, row)
    assert by_model != chunks(Chunk(size=40), context, row)


def test_sections_stay_together_and_name_their_path(context: Any) -> None:
    text = f"# Mill\n\n{WORDS}\n\n## Stones\n\nHard.\n\n## Flour\n\n{WORDS * 3}\n\n# Grain\n\nYellow."
    made = chunks(Chunk(size=64), context, {"text": text, "title": "T"})
    assert [row["text"].split("\n")[0] for row in made] == ["# Mill", "## Flour", "# Grain"]
    assert [row["heading_path"] for row in made] == [["Mill"], ["Mill", "Flour"], ["Grain"]]
    assert {row["page"] for row in made} == {None}
    assert "headings" not in made[0]


def test_a_pdf_is_cut_at_its_outline_and_knows_its_pages(context: Any) -> None:
    first, second, third = f"1 Mill\n{WORDS}", f"2 Stones\n{WORDS}", "3 Flour\n" + f"{WORDS}\n" * 3
    text = f"{first}\n\n{second}\n{third}"
    titles = {"Mill": 0, "Stones": text.index("2 Stones"), "Flour": text.index("3 Flour")}
    headings = [{"start": start, "level": 1, "title": title} for title, start in titles.items()]
    pages = [0, len(first) + 2, titles["Flour"] + 100]
    row = {"text": text, "kind": "pdf", "headings": headings, "pages": pages}
    made = chunks(Chunk(size=50), context, row)
    assert [each["text"].split("\n")[0] for each in made][:2] == ["1 Mill", "3 Flour"], "two fit together"
    assert made[0]["heading_path"] == ["Mill"]
    assert (made[0]["page"], made[0]["last_page"]) == (1, 2)
    assert (made[1]["page"], made[1]["last_page"]) == (2, 3)
    assert (made[0]["headings"], made[0]["pages"]) == (None, None)


def test_plain_text_has_no_headings_unless_told(context: Any) -> None:
    row = {"text": f"# comment\n{WORDS}", "kind": "text"}
    assert chunks(Chunk(size=64), context, row)[0]["heading_path"] == []
    assert chunks(Chunk(size=64, format="markdown"), context, row)[0]["heading_path"] == ["comment"]
    assert chunks(Chunk(size=64, format="plain"), context, {"text": row["text"]})[0]["heading_path"] == []


def test_short_chunks_and_rows_without_text(context: Any) -> None:
    text = f"# A\n\n{WORDS * 3}\n\n# B\n\nShort."
    [made] = asyncio.run(Chunk(size=64, min_tokens=5).open(context)([{"_id": "r", "text": text}]))
    assert isinstance(made[-1], Filtered)
    assert (made[-1].rule, made[-1].score) == ("short", 3.0)
    outcomes = asyncio.run(Chunk(size=64).open(context)([{"_id": "r", "text": " \n"}, {"_id": "s"}]))
    assert all(
        isinstance(each, Failed) and "no text in the column 'text'" in each.error for [each] in outcomes
    )


def test_mistakes_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValidationError, match="must be less than half of the 100 tokens"):
        Chunk(size=100, overlap=50)
    with pytest.raises(ValidationError, match="name a `model` or a `tokenizer`, not both"):
        Chunk(size=100, model="a", tokenizer="b")
    with pytest.raises(DataError, match="there is no file"):
        Chunk(size=100, tokenizer=str(tmp_path)).content()
    monkeypatch.setattr(chunk_module, "find_spec", lambda module: None)
    with pytest.raises(MissingPackage, match=r"semantic-text-splitter.*gristmill\[documents\]"):
        Chunk(size=100).inspect()
