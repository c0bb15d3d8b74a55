"""``verify: math``: the final answer of a worked solution against a reference, as mathematics."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field, PositiveInt

from ...contracts.outcomes import Failed, Kept, Outcome
from ...contracts.rows import Row
from ..execution.limited_processes import CallLimitReached, shared
from ..parsers.final_answer import bare_answer, final_answer
from ..parsers.final_number import Find
from .answer_verifier import AnswerVerifier, reference_text


class VerifyMath(AnswerVerifier):
    """Compares the final answer of a worked solution with the correct one, as mathematics.

    The answer is what the last ``\\boxed{}`` holds, else the mathematics or number after the last ``####`` or
    "answer is". It is parsed by math-verify (Kydlíček, Hugging Face 2025) and compared by sympy: numbers,
    expressions, equations, inequalities, intervals, sets, points and matrices, in any equivalent form.
    Answers in words are equal if they have the same words. Decimal numbers are exact: 0.33 is not 1/3. Units
    of measure, and bases of numbers, must agree if both are written, and a point, an interval and a set
    differ. An answer that cannot be parsed, or takes too long to compare, does not pass. A row fails without
    text to judge, or with a reference that cannot be parsed. Use `verify: number` for word problems, whose
    answers are plain numbers.

    Adds:
        passed (bool): whether the two answers are equal.
        found (text): the answer in sympy's notation; null if there is none, or it cannot be parsed. `select:
            vote` counts it.
        reason (text): why it did not pass; null if it did.

    Example:
        checked: {verify: math, from: solutions, answer: answer}
    """

    batch_rows: ClassVar[int] = 64

    response: str = "response"
    """Column with the solution to judge."""
    answer: str = "answer"
    """Column with the correct answer: a number, LaTeX with or without dollar signs, or a worked solution that
    marks it."""
    find: Find = "last"
    """`marked` uses only an answer that the text marks; `last` falls back to its last mathematics or
    number."""
    decimals: int | None = Field(None, ge=0, le=12)
    """Places to which decimal numbers are rounded before they are compared, so that 3.142 equals \\pi with
    `3`. By default they are exact."""
    seconds: PositiveInt = 5
    """Maximum processor time of a comparison, in seconds."""
    memory_mib: PositiveInt = 1024
    """Maximum memory of a comparison, in MiB."""

    async def judge(self, row: Row) -> Outcome:
        response = row.get(self.response)
        if not isinstance(response, str):
            return Failed(f"column {self.response!r} {self.found_in(row, self.response)}; text is required")
        reference = _reference(row.get(self.answer))
        if reference is None:
            return Failed(f"column {self.answer!r} {self.found_in(row, self.answer)}; an answer is required")
        answer = final_answer(response, self.find)
        if answer is None:
            said = "no answer is marked" if self.find == "marked" else "there is no answer"
            return Kept({"passed": False, "found": None, "reason": said})
        module = f"{__package__}.same_mathematics"
        processes = shared(module, "compare", seconds=self.seconds, memory=self.memory_mib << 20)
        try:
            told = await processes.call(answer=answer, reference=reference, decimals=self.decimals)
        except CallLimitReached as error:
            reason = f"{_shown(answer)} and {_shown(reference)} cannot be compared: {error.message}"
            return Kept({"passed": False, "found": None, "reason": reason})
        if not told["readable"]:
            return Failed(
                f"column {self.answer!r} holds {_shown(reference)}, which cannot be parsed as mathematics"
            )
        found = told["found"]
        if told["passed"]:
            return Kept({"passed": True, "found": found, "reason": None})
        expected = f"expected {_shown(reference)}"
        reason = f"found {_shown(answer)}, {expected}"
        if found is None:
            reason = f"{_shown(answer)} cannot be parsed as mathematics, {expected}"
        return Kept({"passed": False, "found": found, "reason": reason})


def _reference(value: Any) -> str | None:
    text = reference_text(value)
    return None if text is None else bare_answer(text)


def _shown(text: str) -> str:
    plain = " ".join(text.encode("utf-8", "replace").decode().split())
    return plain if len(plain) <= 80 else f"{plain[:80]}…"
