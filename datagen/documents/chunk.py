"""``chunk:`` cuts documents into chunks, each with its place in the document."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, NonNegativeInt, model_validator

from ...contracts.errors import MissingPackage
from ...contracts.operators import Apply, Estimate, Map, ModelRef
from ...contracts.outcomes import Failed, Filtered, Kept, Outcome
from ...contracts.rows import Row
from ...contracts.tokenizers import tokenizer_file, tokenizer_of_file, tokenizer_of_weights
from .read_file import MARKDOWN
from .splitting import Splitter
from .structure import heading_path, markdown_headings, page_at, structure_types

if TYPE_CHECKING:
    import pyarrow as pa
    from tokenizers import Tokenizer

    from ...contracts.context import Context

#: Chunks of a document that estimates assume while it is unread.
_CHUNKS = 20
_NUMBERS = ("chunk", "start", "stop", "tokens", "page", "last_page")


class Chunk(Map):
    """Cuts each text into chunks of at most so many tokens, each a row with its place in the document.

    Texts are cut where their structure allows: between sections of the highest level first, then between
    smaller ones, blocks such as paragraphs and lists, sentences and words. Neighbors that fit into one chunk
    stay together. The text of a chunk is that of the document from `start` to `stop`, as written. It needs
    `pip install 'gristmill[documents]'`.

    Reads:
        text (text): the document, or the column that `column` names.
        kind (text): the kind of a document, if the row has it: `text` and `pdf` are no Markdown.
        headings, pages (lists): its structure, as `source: documents` makes them, if the row has them.

    Adds:
        text (text): text of the chunk, in place of the document's.
        chunk (int32): index of the chunk in its document, from 0.
        start (int32): first character in the document, from 0.
        stop (int32): the character after its last one.
        tokens (int32): number of its tokens.
        heading_path (list of texts): titles that its beginning lies under, the highest first.
        page (int32): page on which it begins, from 1; null without pages.
        last_page (int32): page on which it ends.
        headings, pages: null, if the row had them.

    Filters:
        short: fewer tokens than `min_tokens`; the score is their number.

    Example:
        chunks: {chunk: 384, overlap: 48, model: teacher, from: handbook}
    """

    makes_rows: ClassVar[bool] = True
    batch_rows: ClassVar[int] = 16
    value_field: ClassVar[str | None] = "size"

    size: int = Field(ge=16)
    """Maximum length of a chunk in tokens."""
    overlap: NonNegativeInt = 0
    """Maximum number of tokens that neighbors share, in whole sentences or smaller blocks; less than half of
    the length. By default none."""
    model: ModelRef | None = None
    """Model whose tokenizer counts. By default, and without a `tokenizer`, four characters count as a
    token."""
    tokenizer: str | None = None
    """Instead of a model: a `tokenizer.json`, or a folder that holds one."""
    column: str = "text"
    """Column with the text to cut."""
    format: Literal["auto", "markdown", "plain"] = "auto"
    """How to read the text. `auto` goes by the column `kind`, and reads a row without one as Markdown."""
    min_tokens: NonNegativeInt = 0
    """Minimum length of a chunk in tokens; shorter ones are filtered. By default all are kept."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.overlap * 2 >= self.size:
            raise ValueError(f"overlap: {self.overlap} must be less than half of the {self.size} tokens")
        if self.model is not None and self.tokenizer is not None:
            raise ValueError("name a `model` or a `tokenizer`, not both")
        return self

    def content(self) -> Mapping[str, str]:
        if self.tokenizer is None:
            return {}
        return {"tokenizer": hashlib.sha256(tokenizer_file(self.tokenizer).read_bytes()).hexdigest()}

    def inspect(self) -> None:
        if find_spec("semantic_text_splitter") is None:
            raise MissingPackage(
                "chunk needs the package semantic-text-splitter, which is not installed: "
                "pip install 'gristmill[documents]'"
            )

    def uses_columns(self) -> Sequence[str]:
        return (self.column,)

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        return None if columns is None else list(dict.fromkeys([*columns, *_NUMBERS, "heading_path"]))

    def types(self) -> Mapping[str, pa.DataType]:
        import pyarrow as pa

        numbers = dict.fromkeys(_NUMBERS, pa.int32())
        return {**numbers, "heading_path": pa.list_(pa.string()), **structure_types()}

    def estimate(self, rows: int) -> Estimate:
        """Estimate twenty chunks per document, until they are read."""
        return Estimate(rows=rows * _CHUNKS)

    def open(self, context: Context) -> Apply:
        splitter = Splitter(self._counter(context), self.size, self.overlap)

        async def apply(rows: list[Row]) -> list[list[Outcome]]:
            made = []
            for row in rows:
                context.check()
                made.append(await asyncio.to_thread(self._chunks, row, splitter))
            return made

        return apply

    def _counter(self, context: Context) -> Tokenizer | None:
        if self.tokenizer is not None:
            return tokenizer_of_file(self.tokenizer)
        return None if self.model is None else tokenizer_of_weights(context.weights(self.model).path)

    def _chunks(self, row: Row, splitter: Splitter) -> list[Outcome]:
        text = row.get(self.column)
        if not isinstance(text, str) or not text.strip():
            return [Failed(f"there is no text in the column {self.column!r} to cut")]
        as_markdown = self._is_markdown(row)
        given = row.get("headings")
        if given is None:
            given = [asdict(each) for each in markdown_headings(text)] if as_markdown else []
        pieces = splitter.markdown(text) if as_markdown else splitter.plain(text, given)
        pages = row.get("pages") or []
        emptied: Row = {name: None for name in ("headings", "pages") if name in row}
        outcomes: list[Outcome] = []
        for number, piece in enumerate(pieces):
            made: Row = {
                **emptied,
                self.column: piece.text,
                "chunk": number,
                "start": piece.start,
                "stop": piece.stop,
                "tokens": (tokens := splitter.count(piece.text)),
                "heading_path": heading_path(given, piece.start),
                "page": page_at(pages, piece.start),
                "last_page": page_at(pages, piece.stop - 1),
            }
            short = tokens < self.min_tokens
            outcomes.append(Filtered("short", float(tokens), row=made) if short else Kept(made))
        return outcomes

    def _is_markdown(self, row: Row) -> bool:
        if self.format != "auto":
            return self.format == "markdown"
        kind: Any = row.get("kind")
        return kind is None or kind in MARKDOWN
