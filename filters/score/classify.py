"""``score: classify``: a text-classification model, such as one for toxicity, as a score."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import PositiveInt

from ...contracts.context import Context
from ...contracts.errors import DataError
from ...contracts.nearest import suggestion
from ...contracts.operators import ModelRef
from .text_score import TextScore, TextScorer

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray


class Classify(TextScore):
    """Classifies a text by a model with a classification head, for example for toxicity.

    The model is one of the Hugging Face family `...ForSequenceClassification`, from a folder or the Hub. It
    runs in this process, in batches of texts of similar length. A text longer than the model's input is
    cut. A model that gives several labels to one text (`problem_type: multi_label_classification`) gives
    each its own probability.

    Adds:
        label (text): the most probable label.
        label_probability (float64): its probability, 0 to 1.
        probability_LABEL (float64): the probability of each label in `labels`.

    Example:
        judged: {score: classify, model: toxicity, labels: [toxic], from: answers}
        kept:   {keep: "probability_toxic < 0.1", from: judged}
    """

    adds: ClassVar[tuple[str, ...]] = ("label", "label_probability")

    model: ModelRef
    """Model under `models`, with `engine: transformers` and the `path` of the classifier."""
    labels: tuple[str, ...] = ()
    """Labels whose probability gets a column of its own, as the model names them."""
    batch: PositiveInt = 32
    """Texts per forward pass. More are faster on a GPU and take more memory."""
    max_tokens: PositiveInt = 512
    """Longest text in tokens, special tokens included. A longer one is cut."""

    def added(self) -> Sequence[str]:
        return [self.prefix + name for name in (*self.adds, *(f"probability_{name}" for name in self.labels))]

    def scorer(self, context: Context) -> TextScorer:
        import torch
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        weights = context.weights(self.model)
        try:
            tokenizer = AutoTokenizer.from_pretrained(weights.path, local_files_only=True)
            model, notes = AutoModelForSequenceClassification.from_pretrained(
                weights.path, local_files_only=True, output_loading_info=True
            )
        except (OSError, ValueError) as error:
            raise DataError(
                f"score: classify cannot load {weights.name!r} as a classifier: {error}"
            ) from error
        if notes["missing_keys"]:
            raise DataError(
                f"score: classify: {weights.name!r} has no trained classification head "
                f"({', '.join(sorted(notes['missing_keys'])[:3])} are missing)"
            )
        names = [model.config.id2label[index] for index in range(model.config.num_labels)]
        for name in self.labels:
            if name not in names:
                raise DataError(f"score: classify: no such label: {suggestion(name, names)}")
        model.eval().to("cuda" if torch.cuda.is_available() else "cpu")

        def score(texts: pa.ChunkedArray) -> Mapping[str, pa.Array]:
            return self._columns(texts, self._probabilities(texts, tokenizer, model, context), names)

        return score

    def _probabilities(
        self, texts: pa.ChunkedArray, tokenizer: Any, model: Any, context: Context
    ) -> NDArray[np.float64]:
        """The probability of each label, ``(rows, labels)``; NaN without text."""
        import numpy as np
        import torch

        several = model.config.problem_type == "multi_label_classification"
        made = np.full((len(texts), model.config.num_labels), np.nan)
        for rows, block in _batches(texts.to_pylist(), self.batch):
            context.check()
            longest = min(self.max_tokens, getattr(model.config, "max_position_embeddings", self.max_tokens))
            given = tokenizer(block, padding=True, truncation=True, max_length=longest, return_tensors="pt")
            with torch.inference_mode():
                logits = model(**given.to(model.device)).logits.double()
            made[rows] = (logits.sigmoid() if several else logits.softmax(dim=-1)).cpu().numpy()
        return made

    def _columns(
        self, texts: pa.ChunkedArray, probabilities: NDArray[np.float64], names: Sequence[str]
    ) -> Mapping[str, pa.Array]:
        import numpy as np
        import pyarrow as pa

        missing = texts.is_null().to_numpy()
        best = np.where(missing[:, None], 0.0, probabilities).argmax(axis=1)
        columns = {
            "label": pa.array([names[i] for i in best], pa.string(), mask=missing),
            "label_probability": pa.array(probabilities[np.arange(len(best)), best], mask=missing),
        }
        for name in self.labels:
            columns[f"probability_{name}"] = pa.array(probabilities[:, names.index(name)], mask=missing)
        return columns


def _batches(texts: Sequence[str | None], size: int) -> Iterator[tuple[list[int], list[str]]]:
    """(rows, texts) in batches of similar length; rows without text are in none."""
    known = [(len(text), row, text) for row, text in enumerate(texts) if text is not None]
    known.sort()
    for start in range(0, len(known), size):
        block = known[start : start + size]
        yield [row for _, row, _ in block], [text for _, _, text in block]
