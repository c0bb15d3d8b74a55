"""``train: text``: continued pretraining on plain text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import model_validator

from ...contracts.context import Context
from ...contracts.rows import Row
from ..data.read_rows import read_text, row_weight
from ..data.text import TextEncoder
from ..other_tools import OTHER_NAMES
from ..step import TrainStep

if TYPE_CHECKING:
    from ..losses.objective import Objective


class ContinuedPretraining(TrainStep):
    """Trains a model on plain texts: continued pretraining.

    loss = -log p(token), the mean over the tokens of a step; every token of a text is trained on, and the
    token that ends it. A text of more than `max_length` tokens is cut into several sequences; texts do not
    see each other. With `shuffle: false` the texts are trained on in the order of the rows, and with `mix` in
    given shares: Llama-3-SynE (arXiv 2407.18743) orders them by topic and by perplexity.

    Reads:
        text (text): the text; `text` names another column.
        weight (number): weight of the row in the loss, if rows have it.

    Example:
        student: {train: text, from: articles, model: base, max_length: 2048, pack_tokens: 2048}
    """

    other_names: ClassVar[Mapping[str, str]] = {**OTHER_NAMES, "dataset_text_field": "text: <text>"}
    conversational: ClassVar[bool] = False
    #: Typical of web pages.
    tokens_per_sequence: ClassVar[int] = 600

    text: str = "text"
    """Column of the text."""
    text_end: str | None = None
    """Token that ends a text. By default, the tokenizer's `eos_token`; for a chat model, whose `eos_token`
    ends a turn, the one that its base model was pretrained with (`<|endoftext|>`)."""

    @model_validator(mode="after")
    def _without_template(self) -> Self:
        for name in ("chat_template", "chat_template_kwargs"):
            if getattr(self, name):
                raise ValueError(f"{name} has no effect on plain text: remove it, or use train: sft")
        return self

    def uses_columns(self) -> Iterable[str]:
        return (self.text,)

    def check_row(self, row: Row) -> None:
        read_text(row.get(self.text))
        row_weight(row)

    def estimated_tokens(self) -> int:
        return self.tokens_per_sequence  # a longer text is cut, and all of it is trained on

    def objective(self, context: Context) -> Objective:
        from ..losses.token_loss import TextObjective

        return TextObjective(self.text)

    def encoder(self, path: Path) -> TextEncoder:
        return TextEncoder(path, length=self.max_length, end=self.text_end)
