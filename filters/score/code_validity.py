"""``score: code_validity``: whether the code in a text parses."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

from ...contracts.context import Context
from ...contracts.errors import DataError
from ...contracts.nearest import suggestion
from .language import LEAST_PROSE
from .prose import prose, visible_characters
from .text_score import TextScore, TextScorer

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

_BLOCK = re.compile(r"^[ \t]*```[ \t]*([\w+#.-]*)[^\n`]*\n(.*?)(?:^[ \t]*```[ \t]*$|\Z)", re.M | re.S)
#: Labels of blocks -> the language of the parser.
ALIASES: dict[str, str] = {
    "py": "python", "python3": "python", "js": "javascript", "jsx": "javascript", "node": "javascript",
    "ts": "typescript", "c++": "cpp", "cc": "cpp", "cxx": "cpp", "c#": "csharp", "cs": "csharp",
    "golang": "go", "rs": "rust", "rb": "ruby", "sh": "bash", "shell": "bash", "zsh": "bash", "kt": "kotlin",
    "htm": "html", "mysql": "sql", "postgresql": "sql", "sqlite": "sql", "pl": "perl", "hs": "haskell",
}  # fmt: skip
#: Languages that are parsed; a block with another label is not judged.
LANGUAGES = (
    "python", "javascript", "typescript", "java", "c", "cpp", "csharp", "go", "rust", "ruby", "php", "bash",
    "kotlin", "swift", "scala", "sql", "html", "css", "json", "lua", "perl", "haskell", "r",
)  # fmt: skip
#: Code without a label is valid if one of these parses it: language -> a sign that it must show, since some
#: parsers accept nearly any text (PHP's takes what stands outside `<?php` for a page).
GUESSES: dict[str, str] = {
    "python": "",
    "javascript": r"[;{}=(]",
    "java": r"\b(?:class|public|static|void|import)\b",
    "cpp": r"[#;{]",
    "csharp": r"\b(?:using|namespace|class|public)\b",
    "go": r"\b(?:func|package)\b",
    "rust": r"\b(?:fn|let)\b",
    "php": r"<\?",
    "bash": r"^\s*#!.*sh\b",
    "html": r"(?i)<(?:!doctype|html|head|body|table|form|div|ul|p)\b",
    "sql": r"(?i)\b(?:select|insert|update|delete|create|alter|drop)\b",
}
#: A longer program is not judged: parsers take seconds for megabytes.
LONGEST = 100_000


@dataclass(frozen=True, slots=True)
class CodePiece:
    """A piece of code. ``label``: the language that the text names, or empty. ``fenced``: whether it is a
    block within a text."""

    label: str
    code: str
    fenced: bool


class CodeValidity(TextScore):
    """Parses the code in a text.

    Fenced blocks are parsed in the language that they name; a text that is mostly code and has no fence, as a
    whole. Python is parsed by Python, other languages by tree-sitter. Nothing is run. That code parses does
    not say that it works: `verify:` runs it.

    Adds:
        code_blocks (int64): pieces of code in the text.
        code_valid (bool): every piece parses. Null without code, if its language is not known, or above
            100,000 characters.
        code_languages (list of text): their languages.
        code_error (text): the first mistake: which block, which line.

    Example:
        parsed: {score: code_validity, from: answers, column: response}
        kept:   {keep: "coalesce(code_valid, true)", from: parsed}
    """

    version: ClassVar[int] = 2

    adds: ClassVar[tuple[str, ...]] = ("code_blocks", "code_valid", "code_languages", "code_error")

    language: str | None = None
    """Language of code without a label, such as `python`. By default such code is valid if it parses as one
    of several languages; a block that parses as none of them is not judged, since it may hold output."""

    def inspect(self) -> None:
        if self.language is not None and self.language not in LANGUAGES:
            raise DataError(f"score: code_validity: unknown language: {suggestion(self.language, LANGUAGES)}")

    def scorer(self, context: Context) -> TextScorer:
        def score(texts: pa.ChunkedArray) -> Mapping[str, pa.Array]:
            return _columns(
                [self._judged(*each, context) for each in zip(texts.to_pylist(), _mostly_code(texts))]
            )

        return score

    def _judged(self, text: str | None, code: bool, context: Context) -> Mapping[str, Any]:
        if text is None:
            return {}
        context.check()
        blocks = blocks_of(text, whole=code)
        verdicts = [_verdict(block, self.language) for block in blocks]
        unknown = any(valid is None for valid, _, _ in verdicts)
        wrong = next((f"block {n}: {why}" for n, (ok, _, why) in enumerate(verdicts, 1) if ok is False), None)
        return {
            "code_blocks": len(blocks),
            "code_valid": False if wrong else None if unknown or not blocks else True,
            "code_languages": sorted({language for _, language, _ in verdicts if language}),
            "code_error": wrong,
        }


def blocks_of(text: str, *, whole: bool) -> list[CodePiece]:
    """The fenced blocks of a text; without any, the text itself if it is code as a ``whole``."""
    found = [CodePiece(label.lower(), code, True) for label, code in _BLOCK.findall(text)]
    return found or ([CodePiece("", text, False)] if whole and text.strip() else [])


def _mostly_code(texts: pa.ChunkedArray) -> NDArray[np.bool_]:
    spoken, all_of_it = visible_characters(prose(texts)), visible_characters(texts)
    mostly: NDArray[np.bool_] = spoken < LEAST_PROSE * all_of_it
    return mostly


def _verdict(block: CodePiece, default: str | None) -> tuple[bool | None, str, str]:
    """(whether it parses, or None if that cannot be said; its language; the mistake)."""
    language = ALIASES.get(block.label, block.label) or default or ""
    if len(block.code) > LONGEST or (language and language not in LANGUAGES):
        return None, "", ""
    if language:
        mistake = _mistake(language, block.code)
        return mistake is None, language, f"{language}, {mistake}"
    for guess, sign in GUESSES.items():
        if re.search(sign, block.code) and _mistake(guess, block.code) is None:
            return True, guess, ""
    # A block without a label may hold output or a table.
    return None if block.fenced else False, "", "no language of those tried parses it"


def _mistake(language: str, code: str) -> str | None:
    """The first mistake, or None if the code parses."""
    return _python_mistake(code) if language == "python" else _other_mistake(language, code)


def _python_mistake(code: str) -> str | None:
    # A console session is code and output in turn: only its inputs are parsed.
    if code.lstrip().startswith(">>> "):
        code = "\n".join(line[4:] for line in code.split("\n") if line.startswith((">>> ", "... ")))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(code)
    except SyntaxError as error:
        return f"line {error.lineno}: {error.msg}"
    except (ValueError, RecursionError, MemoryError) as error:
        return f"{type(error).__name__}: {error}"
    return None


def _other_mistake(language: str, code: str) -> str | None:
    root = _parser(language)(code.encode("utf-8", "surrogatepass")).root_node
    if not root.has_error:
        return None
    node, missing = root, False
    while True:  # down to the first mistake
        child = next((each for each in node.children if each.has_error or each.is_missing), None)
        if child is None:
            break
        node, missing = child, child.is_missing
    return f"line {node.start_point[0] + 1}: {'missing ' + node.type if missing else 'invalid syntax'}"


@cache
def _parser(language: str) -> Callable[[bytes], Any]:
    from tree_sitter_language_pack import get_parser

    parse: Callable[[bytes], Any] = get_parser(language).parse  # type: ignore[arg-type]
    return parse


def _columns(rows: Sequence[Mapping[str, Any]]) -> Mapping[str, pa.Array]:
    import pyarrow as pa

    kinds = {
        "code_blocks": pa.int64(),
        "code_valid": pa.bool_(),
        "code_languages": pa.list_(pa.string()),
        "code_error": pa.string(),
    }
    return {name: pa.array([row.get(name) for row in rows], kind) for name, kind in kinds.items()}
