"""Names of figures in words: the summaries of steps have short keys."""

from __future__ import annotations

_WORDS = {
    "ci": "interval", "eval": "evaluation", "lr": "learning rate", "max": "maximum", "mem": "memory",
    "min": "minimum", "n": "rows", "num": "number of", "s": "second", "std": "standard deviation",
}  # fmt: skip
#: Keys that words alone do not make readable.
_KEYS = {
    "held_out_loss": "held-out loss",
    "loss_first": "loss of the first step",
    "loss_last": "loss of the last step",
    "p_two_sided": "p, two-sided",
    "tokens_per_s": "tokens per second",
    "trained_tokens_per_s": "trained tokens per second",
    "usd": "dollars",
}


def in_words(key: str) -> str:
    """A dotted key in words: ``verdict.held_out_loss`` is ``verdict: held-out loss``."""
    return ": ".join(_KEYS.get(part, _spaced(part)) for part in key.split("."))


def _spaced(part: str) -> str:
    return " ".join(_WORDS.get(word, word) for word in part.split("_") if word) or part
