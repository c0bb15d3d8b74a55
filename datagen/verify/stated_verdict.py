"""``verify: verdict``: a critic's verdict on an answer against a verifier's."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import field_validator

from ...contracts.operators import Apply, Map
from ...contracts.outcomes import Failed, Kept, Outcome
from ...contracts.rows import Row

if TYPE_CHECKING:
    import pyarrow as pa

    from ...contracts.context import Context

_RIGHT = ("correct", "right", "yes", "true", "valid", "accurate", "passed", "passes")
_WRONG = ("incorrect", "wrong", "no", "false", "invalid", "inaccurate", "failed", "fails", "flawed")
#: Maximum length of a verdict. Longer texts are arguments, and may contain any of the words.
_LONGEST = 200
_WORDS = re.compile(r"[^\W\d_]+")
_NEGATIONS = frozenset({"not", "isnt", "never", "cannot"})
#: "No mistakes" is positive, "no" alone is negative.
_FAULTS = frozenset({"mistake", "mistakes", "error", "errors", "bug", "bugs", "problem", "problems", "flaws"})


class VerifyVerdict(Map):
    """Compares a critic's verdict on an answer with a verifier's.

    This is the first of the two rewards of RefCritic (Tang et al., arXiv 2507.15024). "Not" before a word
    negates it. A text states no verdict if it has no word for right or wrong, has words for both, or is
    longer than 200 characters. A row fails if its truth is not a bool, or if the column of the verdict is
    missing.

    Adds:
        verdict (bool): the verdict; null if the text states none.
        verdict_matches (bool): whether it equals the verifier's.
        passed (bool): the same.
        reason (text): why it does not match; null if it does.

    Example:
        judged: {verify: verdict, from: critiques, truth: answer_passed}
    """

    makes_rows: ClassVar[bool] = False

    verdict: str = "verdict"
    """Column with the critic's verdict, as text or bool."""
    truth: str = "answer_passed"
    """Column with the verifier's verdict, a bool."""
    right: tuple[str, ...] = _RIGHT
    """Words that call the answer right, ignoring case."""
    wrong: tuple[str, ...] = _WRONG
    """Words that call the answer wrong, ignoring case."""

    @field_validator("right", "wrong")
    @classmethod
    def _single_words(cls, words: tuple[str, ...]) -> tuple[str, ...]:
        for word in words:
            if not _WORDS.fullmatch(word):
                raise ValueError(f"must be single words of letters, found {word!r}")
        return tuple(word.casefold() for word in words)

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        return None if columns is None else [*columns, *self.types()]

    def types(self) -> Mapping[str, pa.DataType]:
        import pyarrow as pa

        return {
            "verdict": pa.bool_(),
            "verdict_matches": pa.bool_(),
            "passed": pa.bool_(),
            "reason": pa.string(),
        }

    def summary(self, table: pa.Table) -> Mapping[str, Any]:
        """The confusion matrix of verdicts and truths, and the number of unreadable verdicts."""
        counts = {
            "right, said right": 0,
            "right, said wrong": 0,
            "wrong, said right": 0,
            "wrong, said wrong": 0,
        }
        unread = 0
        for verdict, matches in zip(
            table["verdict"].to_pylist(), table["verdict_matches"].to_pylist(), strict=True
        ):
            if verdict is None:
                unread += 1
            else:
                truth = verdict if matches else not verdict
                counts[f"{'right' if truth else 'wrong'}, said {'right' if verdict else 'wrong'}"] += 1
        return {**counts, "unreadable": unread}

    def open(self, context: Context) -> Apply:
        async def apply(rows: list[Row]) -> list[list[Outcome]]:
            return [[self._row(row)] for row in rows]

        return apply

    def _row(self, row: Row) -> Outcome:
        truth, given = row.get(self.truth), row.get(self.verdict)
        if not isinstance(truth, bool):
            found = f"holds {type(truth).__name__}" if self.truth in row else "is missing"
            return Failed(f"column {self.truth!r} {found}; a bool (the verifier's verdict) is required")
        if self.verdict not in row:
            return Failed(f"column {self.verdict!r} is missing; the critic's verdict is required")
        verdict = given if isinstance(given, bool) else self.read(given) if isinstance(given, str) else None
        matches = verdict is truth
        reason = None
        if verdict is None:
            reason = f"the verdict says neither right nor wrong: {_shown(given)}"
        elif not matches:
            reason = (
                f"said to be {'right' if verdict else 'wrong'}, but it is {'right' if truth else 'wrong'}"
            )
        return Kept({"verdict": verdict, "verdict_matches": matches, "passed": matches, "reason": reason})

    def read(self, text: str) -> bool | None:
        """Return the verdict of a short text; None if it states none, or both."""
        if len(text) > _LONGEST:
            return None
        words = _WORDS.findall(text.casefold().replace("'", "").replace("\u2019", ""))
        said: set[bool] = set()
        for place, word in enumerate(words):
            following = words[place + 1] if place + 1 < len(words) else ""
            if word in self.right or word in self.wrong:
                blames_nothing = word == "no" and following in _FAULTS
                negated = bool(_NEGATIONS & set(words[max(0, place - 2) : place]))
                said.add((word in self.right) != (blames_nothing or negated))
        return said.pop() if len(said) == 1 else None


def _shown(value: Any) -> str:
    if not isinstance(value, str):
        return type(value).__name__
    text = value.strip().encode("utf-8", "replace").decode()
    return repr(text if len(text) <= 60 else text[:60] + "…")
