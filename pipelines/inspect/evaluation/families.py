"""The kinds of task file that ``gristmill eval`` reads, told apart by the fields of their rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from ....contracts.errors import DataError

#: Multiple choice: the columns of the question, of the options and of the right one, in known files.
CHOICES = (
    ("question", "choices", "answer"),  # MMLU
    ("question", "options", "answer"),
    ("ctx", "endings", "label"),  # HellaSwag
)
_NUMBERS = "{{ question }}\n\nThink step by step, and end with the line: The answer is NUMBER."
_CODE = (
    "Write this Python function. Answer with the whole function in one code block.\n\n"
    "```python\n{{ prompt }}```"
)
_LETTERS = "'ABCDEFGHIJKLMNOPQRSTUVWXYZ'[loop.index0]"
_CHOICE = (
    "{{{{ {question} }}}}\n\n"
    "{{% for option in {options} %}}{{{{ {letter} }}}}. {{{{ option }}}}\n{{% endfor %}}\n"
    "End with the line: The answer is (LETTER)."
)


@dataclass(frozen=True)
class Family:
    """How the tasks of a file are asked and checked.

    ``score``: the column of an item's score. ``evaluate``: the keys of the `evaluate` step. ``compute``:
    columns that are computed first, as SQL.
    """

    name: str
    score: str
    evaluate: Mapping[str, Any]
    max_tokens: int | None
    compute: Mapping[str, str] = field(default_factory=dict)


def family_of(rows: Iterable[Mapping[str, Any]], file: str) -> Family:
    """The family of a file: its first row tells, and of multiple choice all rows the number of options.

    Raises DataError if it is none of them.
    """
    rest = iter(rows)
    first = next(rest, {})
    known = set(first)
    if "instruction_id_list" in known or "constraints" in known:
        return Family("constraints", "strict", {"evaluate": "constraints"}, 512)
    if {"prompt", "entry_point", "test"} <= known:
        check = {"verify": "tests", "code": "solution", "tests": "tests", "prelude": "prompt", "mutants": 0}
        parser = {"kind": "code", "column": "solution"}
        tests = "test || chr(10) || chr(10) || 'check(' || entry_point || ')' || chr(10)"
        return Family("code", "score", _answers(_CODE, check, parser), 512, {"tests": tests})
    for question, options, answer in CHOICES:
        if {question, options, answer} <= known and isinstance(first[options], list):
            given = (row.get(options) for row in chain((first,), rest))
            most = max(len(each) for each in given if isinstance(each, list))
            check = {"verify": "choice", "answer": answer, "options": most}
            template = _CHOICE.format(question=question, options=options, letter=_LETTERS)
            return Family("choice", "score", _answers(template, check), 256)
    if {"question", "answer"} <= known:
        return Family("numbers", "score", _answers(_NUMBERS, {"verify": "number"}), 320)
    if {"prompt", "response"} <= known:
        return Family("loss", "mean_logprob", {"evaluate": "likelihood", "response": "response"}, None)
    if "messages" in known:
        return Family("loss", "mean_logprob", {"evaluate": "likelihood"}, None)
    if "plus_input" in known:
        raise DataError(
            f"{file}: these tasks of EvalPlus have inputs (`plus_input`) and a reference in place of tests; "
            "what is read is (prompt, entry_point, test), as in evalplus/humanevalplus on Hugging Face"
        )
    raise DataError(
        f"{file}: its rows have the fields {', '.join(sorted(known)) or 'none'}, which are those of no "
        "tasks: constraints (prompt, instruction_id_list, kwargs), code (prompt, entry_point, test), numbers "
        "(question, answer), choice (question, choices, answer) or loss (prompt, response; or messages); or "
        "a log of lm-eval (doc_id, doc, arguments) whose `doc` has these"
    )


def _answers(
    template: str, check: Mapping[str, Any], parser: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    own = parser or {"kind": "text", "column": "response"}
    return {"evaluate": "answers", "template": template, "check": dict(check), "parser": dict(own)}
