"""Whether two answers are the same mathematics, by math-verify and sympy. Runs in a limited process.

math-verify (Kydlíček, Hugging Face 2025) is made to accept whatever a model may have meant. Where this makes
equal what is not, the comparison is narrowed here: decimal numbers are exact, brackets, units and bases must
agree, and what sympy knows to be unequal is not equal.
"""

from __future__ import annotations

import logging
import re
from itertools import product
from typing import Any

import sympy
from latex2sympy2_extended.latex2sympy2 import NormalizationConfig, latex2sympy, normalize_latex
from math_verify import verify
from math_verify.parser import should_treat_as_complex
from sympy.core.traversal import bottom_up
from sympy.logic.boolalg import Boolean

from .answer_notation import Notation, notations

logging.getLogger("math_verify").setLevel(logging.CRITICAL)

_NORMAL = NormalizationConfig(
    basic_latex=True, units=False, malformed_operators=True, nits=True, boxed="none", equations=False
)
#: The value of a number of more digits would not be computed in time.
_POWER = re.compile(r"\^\s*\{?\s*\d{5,}|\d{400,}")


def compare(answer: str, reference: str, decimals: int | None) -> dict[str, Any]:
    """Return ``passed``, and ``found``: the answer in sympy's notation, None if it cannot be parsed.

    ``readable``: whether the reference can be parsed. ``decimals``: if given, decimal numbers are equal if
    they are when rounded to it.
    """
    owns = [(each, _parsed(each.text, decimals)) for each in notations(answer)]
    golds = [(each, _parsed(each.text, decimals)) for each in notations(reference)]
    (own, found), (gold, expected) = owns[0], golds[0]
    if gold.words is not None or own.words is not None:
        readable = gold.words is not None or expected is not None
        passed = readable and own.letters == gold.letters
        return {"passed": passed, "found": own.words or _shown(found), "readable": readable}
    passed = any(_passes(*one, *other, decimals) for one, other in product(owns, golds))
    return {"passed": passed, "found": _shown(found), "readable": expected is not None}


def _passes(own: Notation, found: Any, gold: Notation, expected: Any, decimals: int | None) -> bool:
    return (
        expected is not None
        and found is not None
        and _compatible(own, gold)
        and _equal(found, expected, own, gold, decimals)
    )


def _parsed(text: str, decimals: int | None) -> Any:
    """Return the sympy object; None if the text is no mathematics."""
    if not text or _POWER.search(text):
        return None
    normal = normalize_latex(text, config=_NORMAL)
    if not normal.strip():
        return None
    try:
        found = latex2sympy(
            normal,
            is_real=not should_treat_as_complex(normal),
            convert_degrees=False,
            normalization_config=None,
        )
    except MemoryError:
        raise
    except Exception:  # the parser raises errors of many kinds
        return None
    if isinstance(found, (sympy.Basic, sympy.MatrixBase)) and not found.has(sympy.nan, sympy.zoo):
        return _exact(found) if decimals is None else found
    return None


def _exact(found: Any) -> Any:
    floats = found.atoms(sympy.Float)
    return found.xreplace({each: sympy.Rational(str(each)) for each in floats}) if floats else found


def _compatible(own: Notation, gold: Notation) -> bool:
    """Whether brackets, units of measure and bases agree. A missing unit or base agrees with any."""
    units = own.unit is None or gold.unit is None or own.unit == gold.unit
    bases = not own.bases or not gold.bases or own.bases == gold.bases
    return units and bases and (own.brackets == gold.brackets or own.is_inequality != gold.is_inequality)


def _equal(found: Any, expected: Any, own: Notation, gold: Notation, decimals: int | None) -> bool:
    if own.percent != gold.percent:
        # As a unit (50 % and 50), or as a factor (50 % and 0.5).
        share, plain = (found, expected) if own.percent else (expected, found)
        hundredth = share / 100 if isinstance(share, sympy.Expr) else share
        return _same(plain, share, decimals) or _same(plain, hundredth, decimals)
    return _same(found, expected, decimals)


def _same(found: Any, expected: Any, decimals: int | None) -> bool:
    rounding = 15 if decimals is None else decimals
    if found == expected or _ordered(found) == _ordered(expected):
        return True
    if not verify(
        expected,
        found,
        float_rounding=rounding,
        numeric_precision=30,
        allow_set_relation_comp=True,
        timeout_seconds=None,
    ):
        return False
    both = isinstance(found, sympy.Expr) and isinstance(expected, sympy.Expr)
    # Numbers close to zero are cut off there, and would equal each other.
    return not (both and decimals is None and (found - expected).equals(0) is False)


def _ordered(found: Any) -> Any:
    """Return an expression with its terms in the order of sympy. The parser leaves them as written."""
    if not isinstance(found, sympy.Expr) or found.has(Boolean):
        return found
    return bottom_up(found, lambda part: part.func(*part.args) if part.args else part)


def _shown(found: Any) -> str | None:
    if found is None:
        return None
    text = str(found)
    return text if len(text) <= 400 else f"{text[:400]}…"
