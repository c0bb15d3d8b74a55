"""Names of clusters by a model, which sees the texts nearest to each centroid and the most telling words."""

from __future__ import annotations

from collections.abc import Sequence

from ...contracts.context import Context
from ...contracts.errors import EngineError
from ...contracts.inference import Completion, Request, Sampling, derive_seed

#: Texts that the model sees of each cluster, and characters of each.
TEXTS, CHARACTERS = 8, 300
#: Longest label.
LONGEST = 80
_TOKENS = 24
#: Tokens of a question, by estimate.
QUESTION_TOKENS = 600
_QUESTION = """Below are texts of one group, and words that are typical of it. Name what the texts are
about, in two to five words. Answer with the name alone.

Typical words: {terms}

{texts}

Name:"""


def asked_labels(
    texts: Sequence[Sequence[str]], terms: Sequence[Sequence[str]], model: str, context: Context
) -> list[str | None]:
    """Return the label of each cluster; None where the model has no readable answer.

    ``texts``: of each cluster, nearest to the centroid first. ``terms``: the telling words of each.
    """
    requests = [
        Request(
            id=f"cluster:{number}",
            seed=derive_seed(context.seed, number),
            sampling=Sampling(max_tokens=_TOKENS, temperature=0.0),
            messages=({"role": "user", "content": _question(some, words)},),
        )
        for number, (some, words) in enumerate(zip(texts, terms, strict=True))
    ]
    return [_label(answer) for answer in context.ask(model, requests)]


def _question(texts: Sequence[str], terms: Sequence[str]) -> str:
    shown = [
        f"{number}. {' '.join(text.split())[:CHARACTERS]}" for number, text in enumerate(texts[:TEXTS], 1)
    ]
    return _QUESTION.format(terms=", ".join(terms) or "none", texts="\n".join(shown))


def _label(answer: Completion | EngineError) -> str | None:
    """The first line of an answer, without quotes, list marks and full stop."""
    if isinstance(answer, EngineError):
        return None
    lines = [line.strip().strip("\"'`*#-.: ") for line in answer.text.splitlines()]
    return next((line[:LONGEST] for line in lines if line), None)
