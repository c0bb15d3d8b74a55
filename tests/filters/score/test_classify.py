from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch

from gristmill.contracts.errors import DataError
from gristmill.contracts.inference import ModelWeights
from gristmill.filters.score.classify import Classify

WORDS = ["kind", "rude", "the", "answer", "is"]


def save_classifier(folder: Path, problem: str) -> None:
    """A BERT that reads one thing: whether the text holds `rude` (label `toxic`) or `kind` (label `fine`)."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    vocabulary = {name: number for number, name in enumerate(["[PAD]", "[CLS]", "[UNK]", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A", special_tokens=[("[CLS]", vocabulary["[CLS]"])]
    )
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]").save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=32, num_labels=2, problem_type=problem,
        id2label={0: "toxic", 1: "fine"}, label2id={"toxic": 0, "fine": 1},
    )  # fmt: skip
    model = BertForSequenceClassification(config)
    texts = [
        f"{word} {rest}" for word in ("kind", "rude") for rest in ("the answer is", "is", "the is answer")
    ]
    wanted = torch.tensor([1, 1, 1, 0, 0, 0])
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02)
    given = PreTrainedTokenizerFast.from_pretrained(folder)(texts, padding=True, return_tensors="pt")
    labels = (
        wanted if problem != "multi_label_classification" else torch.nn.functional.one_hot(wanted).float()
    )
    for _ in range(30):
        optimizer.zero_grad()
        model(**given, labels=labels).loss.backward()
        optimizer.step()
    model.save_pretrained(folder)


@pytest.fixture(scope="module", params=["single_label_classification", "multi_label_classification"])
def weights(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> ModelWeights:
    folder = tmp_path_factory.mktemp("classifier")
    save_classifier(folder, request.param)
    return ModelWeights("toxicity", folder, "digest")


def judged(
    context: Any, weights: ModelWeights, texts: list[str | None], **options: Any
) -> dict[str, list[Any]]:
    context.models["toxicity"] = weights
    step = Classify(model="toxicity", **options)
    found = step.open(context)(pa.table({"response": pa.array(texts, pa.string())}))
    assert list(found.columns) == list(step.added())
    return {name: column.to_pylist() for name, column in found.columns.items()}


def test_texts_get_their_label_and_probabilities(context: Any, weights: ModelWeights) -> None:
    texts = ["the answer is rude", None, "kind is the answer", "is rude " * 40, ""]
    found = judged(context, weights, texts, labels=["toxic"], batch=2)
    assert found["label"][:4] == ["toxic", None, "fine", "toxic"]
    assert found["probability_toxic"][1] is found["label_probability"][1] is None
    assert found["probability_toxic"][0] > 0.8 > 0.2 > found["probability_toxic"][2]
    assert 0 <= found["probability_toxic"][4] <= 1


def test_batches_do_not_change_the_answers(context: Any, weights: ModelWeights) -> None:
    texts = [f"{word} {'the ' * n}is" for n in range(9) for word in ("kind", "rude")]
    one = judged(context, weights, texts, batch=1)["label_probability"]
    all_of_them = judged(context, weights, texts, batch=64)["label_probability"]
    assert one == pytest.approx(all_of_them, abs=1e-5)


def test_labels_of_one_text_are_independent_where_the_model_says_so(
    context: Any, weights: ModelWeights
) -> None:
    found = judged(context, weights, ["rude kind"], labels=["toxic", "fine"])
    both = found["probability_toxic"][0] + found["probability_fine"][0]
    config = (weights.path / "config.json").read_text()
    assert (both == pytest.approx(1.0)) == ("multi_label" not in config)


def test_mistakes_are_told(context: Any, weights: ModelWeights, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found 'toxik'; did you mean 'toxic'"):
        judged(context, weights, ["a"], labels=["toxik"])
    with pytest.raises(DataError, match="cannot load 'nothing' as a classifier"):
        judged(context, ModelWeights("nothing", tmp_path, "d"), ["a"])


def test_a_model_without_a_trained_head_is_refused(
    context: Any, weights: ModelWeights, tmp_path: Path
) -> None:
    from transformers import BertModel, PreTrainedTokenizerFast

    PreTrainedTokenizerFast.from_pretrained(weights.path).save_pretrained(tmp_path)
    BertModel.from_pretrained(weights.path).save_pretrained(tmp_path)
    with pytest.raises(DataError, match="no trained classification head"):
        judged(context, ModelWeights("bare", tmp_path, "d"), ["a"])
