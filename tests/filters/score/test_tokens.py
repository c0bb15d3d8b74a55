from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from gristmill.contracts.errors import DataError
from gristmill.contracts.inference import ModelWeights
from gristmill.filters.score.tokens import Tokens


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tokenizer of whole words that adds a special token, pads and cuts, as those of models may."""
    words = {"[CLS]": 0, "[UNK]": 1, "the": 2, "mill": 3, "grinds": 4}
    made = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(single="[CLS] $A", special_tokens=[("[CLS]", 0)])
    made.enable_truncation(3)
    made.enable_padding(length=16)
    made.save(str(tmp_path / "tokenizer.json"))
    return tmp_path


def counts(step: Tokens, context: Any, *texts: str | None) -> list[int | None]:
    table = pa.table({"response": pa.array(texts, pa.string())})
    return step.open(context)(table).columns["tokens"].to_pylist()


def test_only_the_texts_own_tokens_count(folder: Path, context: Any) -> None:
    step = Tokens(tokenizer=str(folder))
    long = "the mill grinds the grain of the town"
    assert counts(step, context, long, "mill", "", None) == [8, 1, 0, None]
    assert counts(Tokens(tokenizer=str(folder / "tokenizer.json")), context, long) == [8]


def test_many_texts_are_counted_in_order(folder: Path, context: Any) -> None:
    texts = ["mill " * (place % 7) for place in range(3000)]
    assert counts(Tokens(tokenizer=str(folder)), context, *texts) == [place % 7 for place in range(3000)]


def test_the_tokenizer_of_a_model(folder: Path, context: Any) -> None:
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    context.models["base"] = ModelWeights("base", folder, "d")
    assert counts(Tokens(model="base"), context, "the mill grinds corn") == [4]


def test_its_content_is_part_of_the_step(folder: Path) -> None:
    step = Tokens(tokenizer=str(folder))
    before = step.content()
    text = (folder / "tokenizer.json").read_text()
    (folder / "tokenizer.json").write_text(text.replace("grinds", "grounds"))
    assert step.content() != before


def test_mistakes_are_told(tmp_path: Path, context: Any) -> None:
    with pytest.raises(ValidationError, match="either a `model` or a `tokenizer`"):
        Tokens()
    with pytest.raises(DataError, match="there is no file"):
        Tokens(tokenizer=str(tmp_path)).content()
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(DataError, match=r"is not a tokenizer\.json"):
        Tokens(tokenizer=str(tmp_path)).open(context)
