"""Extraction of the final number of a worked solution: the number after a mark, or the last one, exactly."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

#: ``marked``: only a number that the text marks as its answer; ``last``: with the last number as fallback.
Find = Literal["marked", "last"]

#: Longer runs of digits and signs are not answers, and would be slow to parse.
_LONGEST = 60
#: Maximum distance of a number after its mark, and how many marks and numbers are tried, from the last.
_SCOPE = 200
_TRIED = 16

_DIGITS = r"(?:[0-9]{1,3}(?:,[0-9]{3})++(?![0-9])|[0-9]++)(?:\.[0-9]++)?|\.[0-9]++"
# A sign counts unless an operand precedes it: in "5-3" it subtracts.
_SIGN = r"(?P<sign>(?:(?<![\w)\]}.])[-\u2212])?)"
_CURRENCY = r"(?:\\?[$€£¥₹])?"
_PART = rf"(?(whole)|[-\u2212]?)(?:{_DIGITS})"
_NUMBER = re.compile(
    rf"(?<![\w.]){_SIGN}{_CURRENCY}(?P<late>[-\u2212]?)"
    # The parts of a fraction have signs of their own, but not in a mixed number.
    rf"(?:(?P<whole>{_DIGITS})?+ ?\\[dt]?frac ?\{{(?P<upper>{_PART})\}} ?\{{(?P<lower>{_PART})\}}"
    rf"|(?P<mixed>[0-9]{{1,9}}) (?P<over>[0-9]{{1,9}})/(?P<under>[0-9]{{1,9}})(?![0-9/])"
    rf"|(?P<plain>{_DIGITS})"
    rf"(?: ?/ ?(?P<divisor>{_DIGITS}))?"
    r"(?P<power>[eE][-+]?[0-9]{1,2}(?![0-9])| ?(?:\\times|\\cdot|[×x*]) ?10 ?\^ "
    r"?\{?[-\u2212]?[0-9]{1,2}\}?)?)"
    r"(?P<percent> ?\\?%)?"
)
_MARK = re.compile(
    r"(?P<hash>(?<!#)####(?!#))|(?P<boxed>\\boxed ?\{)|(?P<said>\banswer\b[*_` ]{0,4}(?:is\b|are\b|:|=))",
    re.IGNORECASE,
)
#: A number on a line of ``####`` may be followed by a unit. A sentence makes it a heading ("#### 2. Add").
_UNIT = re.compile(r"[^\w\n]{0,8}(?:\w{1,24}[^\w\n]{0,8})?$")
_LEADING = re.compile(r"\A(?:[ \t\r\n*_`:$]|\\[(\[])+")
_SENTENCE_END = re.compile(r"[.!?]+(?=\s|$)")
#: What makes a number part of an expression (5\pi, 2x, x^2, \sqrt{2}, (1, 2)), which is not a number.
#: "2 p.m.", "18/hour" and "18/hr" are none; one letter, or two of usual variables, are no unit. A minus sign
#: after a space is a dash if words and more follow.
_VARIABLE = r"(?![apAP]\.[mM]\b)[A-Za-z](?![A-Za-z])"
_FUNCTION = r"\\|\(|(?:[A-Za-z]|[a-cx-z]{2})(?![A-Za-z])|(?:sin|cos|tan|log|ln|exp|sqrt|pi)\b|[A-Za-z]+[(^]"
_GOES_ON = re.compile(
    rf" ?\\(?:pi|sqrt|[dt]?frac|cdot|times|log|ln|sin|cos|tan|theta|alpha|beta|pm|cup)"
    rf"|{_VARIABLE}| (?![pP]\.[mM]\b)[xyznkpq](?![A-Za-z])"
    rf"|\^(?!\s*\{{?\s*\\circ)|_| ?[+*] ?[\w\\(]|\(| ?/ ?(?:{_FUNCTION})|[-\u2212] ?(?:\d|\\|{_VARIABLE})"
    r"| [-\u2212] ?(?:[\d\\]|\([\d\\]|[xyznkpq](?![A-Za-z]))(?!.*(?<![\\A-Za-z])[A-Za-z]{2,}+.*\w)"
)
_FACTORIAL = re.compile(r"!(?![*_!])")
_STARTED = re.compile(r"(?:\\[a-z]+ ?\{?|[\w)}\]] ?[-+*^_/\u2212] ?[{(]?|^[-\u2212] )$")
_LISTED = re.compile(r" ?, ?[-\u2212\d\\]")
_PROSE = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{3,}")
_LAYOUT = re.compile(r"\{,\}|,\\!|\\[!,; ]|\\(?:text|mathrm|mbox) ?\{")


@dataclass(frozen=True, slots=True)
class Number:
    """``value``: exact. ``percent``: whether a percent sign follows; it is not part of the value."""

    value: Fraction
    percent: bool = False

    @property
    def text(self) -> str:
        """The canonical text: a decimal number if it terminates, else a fraction in lowest terms."""
        digits = _decimal(self.value) or f"{self.value.numerator}/{self.value.denominator}"
        return f"{digits}%" if self.percent else digits

    def equals(self, other: Number) -> bool:
        """Exact comparison. 50 % equals both 50 and 0.5 without a sign, because texts use it as a unit."""
        if self.percent == other.percent:
            return self.value == other.value
        share, plain = (self, other) if self.percent else (other, self)
        return plain.value in (share.value, share.value / 100)


def final_number(text: str, find: Find = "last") -> Number | None:
    """Return the final answer in ``text``; None if there is none.

    It follows the last ``####``, ``\\boxed{}`` or "answer is" that has a number. With ``find="last"`` the
    last number is the fallback. If the answer is an expression of which a number is only a part
    (5\\pi, 2x+1), there is none. The time is linear in the length of the text.
    """
    if _is_expression(_stated(text)):
        return None
    for mark in reversed(deque(_MARK.finditer(text), maxlen=_TRIED)):
        found = _marked(text, mark)
        if found is not None:
            return found
    if find == "marked":
        return None
    # Only the last few are parsed: a text may contain half a million.
    last = deque(_NUMBER.finditer(_LAYOUT.sub(_plain_layout, text)), maxlen=_TRIED)
    return next((number for match in reversed(last) if (number := _read(match))), None)


def first_number(sentence: str) -> Number | None:
    """Return the first number of a sentence, of an equation's last side; None within an expression."""
    return None if _is_expression(sentence) else _last_side(sentence)


def _marked(text: str, mark: re.Match[str]) -> Number | None:
    scope = text[mark.end() : mark.end() + _SCOPE]
    if mark["boxed"]:
        return _last_side(_braced(scope))
    if mark["said"]:
        # The answer of an equation is its right side; that of a sentence is its first number.
        return _last_side(_sentence(scope))
    line = _LAYOUT.sub(_plain_layout, scope.split("\n", 1)[0]).strip()
    number = _NUMBER.match(line)
    return _read(number) if number and _UNIT.match(line, number.end()) else None


def _stated(text: str) -> str:
    """Return what follows the last mark; a short text without marks or prose is an answer itself."""
    mark = next(iter(deque(_MARK.finditer(text), maxlen=1)), None)
    if mark is None:
        return text if len(text) <= _LONGEST and not _PROSE.search(text) else ""
    scope = text[mark.end() : mark.end() + _SCOPE]
    if mark["boxed"]:
        return _braced(scope)
    return _sentence(scope)


def _sentence(scope: str) -> str:
    """Return the first sentence of a line, without what surrounds its mathematics at the front."""
    return _SENTENCE_END.split(_LEADING.sub("", scope).split("\n", 1)[0], maxsplit=1)[0]


def _is_expression(stated: str) -> bool:
    """Whether the first number of the last side is a part of an expression, or of a list."""
    side = _LAYOUT.sub(_plain_layout, stated.rpartition("=")[2]).strip(" $")
    number = _NUMBER.search(side)
    if number is None:
        return False
    goes_on = _GOES_ON.match(side, number.end()) or _LISTED.match(side, number.end())
    # Within a sentence, "!" ends it.
    factorial = number.start() == 0 and _FACTORIAL.match(side, number.end())
    return bool(goes_on or factorial or _STARTED.search(side[: number.start()]))


def _last_side(line: str) -> Number | None:
    """Return the first number after the last "=" that has one."""
    sides = line.split("=")
    return next((number for side in reversed(sides) for number in _numbers(side)), None)


def _braced(scope: str) -> str:
    """Return the text up to the matching closing brace; all of it if there is none."""
    depth = 1
    for place, character in enumerate(scope):
        depth += (character == "{") - (character == "}")
        if depth == 0:
            return scope[:place]
    return scope


def _numbers(text: str) -> Iterator[Number]:
    for match in _NUMBER.finditer(_LAYOUT.sub(_plain_layout, text)):
        number = _read(match)
        if number is not None:
            yield number


def _plain_layout(match: re.Match[str]) -> str:
    """Replace LaTeX's spaces within numbers and its text commands by plain characters."""
    written = match[0]
    return "," if "," in written[:2] and written != "\\," else " " if written.endswith("{") else ""


def _read(match: re.Match[str]) -> Number | None:
    """Return the value of the match; None if it is too long to be an answer or divides by zero."""
    if match.end() - match.start() > _LONGEST:
        return None
    try:
        if match["upper"] is not None:
            fraction = _exact(match["upper"]) / _exact(match["lower"])
            value = _exact(match["whole"] or "0") + fraction
        elif match["mixed"] is not None:
            value = int(match["mixed"]) + Fraction(int(match["over"]), int(match["under"]))
        else:
            value = _exact(match["plain"]) / _exact(match["divisor"] or "1") * _power(match["power"])
    except ZeroDivisionError:
        return None
    negative = bool(match["sign"]) != bool(match["late"])
    return Number(-value if negative else value, percent=match["percent"] is not None)


def _exact(digits: str) -> Fraction:
    return Fraction(digits.replace(",", "").replace("\u2212", "-"))


def _power(written: str | None) -> Fraction:
    if written is None:
        return Fraction(1)
    exponent = written[1:] if written[0] in "eE" else written.rpartition("^")[2].strip(" {}")
    return Fraction(10) ** int(exponent.replace("\u2212", "-"))


def _decimal(value: Fraction) -> str | None:
    """Return the decimal number without trailing zeros; None if it does not terminate."""
    rest, places = value.denominator, 0
    for prime in (2, 5):
        power = 0
        while rest % prime == 0:
            rest //= prime
            power += 1
        places = max(places, power)
    if rest != 1:
        return None
    whole, part = divmod(abs(value.numerator) * 10**places // value.denominator, 10**places)
    digits = f"{whole}.{part:0{places}d}" if places else str(whole)
    return f"-{digits}" if value < 0 else digits
