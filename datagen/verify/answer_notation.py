"""How an answer is written: its words, brackets, unit and percent sign, apart from its mathematics."""

from __future__ import annotations

import re
from dataclasses import dataclass

_TEXT = re.compile(r"\\(?:text|textbf|textit|textnormal|textrm|mathrm|mbox)\s*\{([^{}]*)\}")
_SPACES = re.compile(r"(?<!\\)\\[!,;:> ]|~|\\q?quad(?![a-z])")
_THOUSANDS = re.compile(r"[-+]?\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_MIXED = re.compile(
    r"(?<![\d.^_{}a-zA-Z])(\d{1,9})\s*\\[dt]?frac\s*\{\s*(\d+)\s*\}\s*\{\s*(\d+)\s*\}(?!\s*\^)"
)
_MIXED_PLAIN = re.compile(r"(-?)(\d{1,9})\s+(\d{1,9})\s*/\s*(\d{1,9})")
_PERCENT = re.compile(r"\s*(?:\\?%|\bper\s?cent\b)\s*$")
_NAMED = re.compile(r"^[A-Za-z](?:_\{?\w\}?)?\s*(?:\\in(?![a-z])|:)\s*")
_POWER = r"\s*(?:\^\s*\{?([23])\}?)?\s*$"
_TEXT_AFTER = re.compile(
    r"\s*\\(?:text|textbf|textnormal|textrm|mathrm|mbox)\s*\{\s*([A-Za-z. ]+?)\s*\}" + _POWER
)
_WORDS_AFTER = re.compile(r"(?<=[\d})\s])((?<!\\)[A-Za-z]{2,}\.?(?: [A-Za-z]{2,}\.?)*)" + _POWER)
#: A number, a space, and a letter that may be its unit. "12m" is a product.
_LETTER_AFTER = re.compile(
    r"((?:[A-Za-z]\s*=\s*)?[-+]?\s*(?:\\?\$)?(?:[\d,.]*\d|(?:\d+\s+)?\d+\s*/\s*\d+"
    r"|\d*\s*\\[dt]?frac\s*(?:\d\d|\{\s*\d+\s*\}\s*\{\s*\d+\s*\})))\s+([mglLsh])" + _POWER
)
#: A number with its base as a subscript.
_BASED = re.compile(r"(?<![\w^.\\])(\d(?:[\dA-F,]*\d)?(?:\.\d+)?)_(\d{1,2}(?!\d)|\{(?:[^{}]|\{[^{}]*\})*\})")
_BASES = {
    "two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7", "eight": "8", "nine": "9",
    "ten": "10", "eleven": "11", "twelve": "12", "sixteen": "16",
}  # fmt: skip
_DEGREES = re.compile(r"(?:\^\s*(?:\\circ|\{\s*\\circ\s*\})\s*([CF])?|°\s*([CF])?|\\degree)\s*$")
_INEQUALITY = re.compile(r"[<>≤≥]|\\[lg](?:eq?|t)(?:slant)?(?![a-z])")
_WORDS = re.compile(r"[(\[]?[A-Za-z]+(?:[ '\-][A-Za-z]+)*[)\]]?")

#: A unit of measure -> its one name. Other words after a number ("apples") name themselves.
_MEASURES = {
    name: names[0]
    for names in (
        ("mm", "millimeter", "millimetre"),
        ("cm", "centimeter", "centimetre"),
        ("m", "meter", "metre"),
        ("km", "kilometer", "kilometre"),
        ("inch", "inches", "in"),
        ("foot", "feet", "ft"),
        ("yard", "yd"),
        ("mile", "mi"),
        ("mg", "milligram"),
        ("g", "gram"),
        ("kg", "kilogram"),
        ("pound", "lb", "lbs"),
        ("ounce", "oz"),
        ("ml", "milliliter", "millilitre"),
        ("liter", "litre", "l"),
        ("second", "sec", "s"),
        ("minute", "min"),
        ("hour", "hr", "h"),
        ("day",),
        ("week",),
        ("month",),
        ("year",),
        ("dollar",),
        ("cent",),
        ("degree", "deg", "°"),
        ("radian", "rad"),
        ("mph",),
    )
    for name in names
}


@dataclass(frozen=True, slots=True)
class Notation:
    """``text``: the mathematics in LaTeX. ``words``: the answer if it is words alone, in lower case.

    ``brackets``: the kinds of the outermost pair of a list, "()" for a point; "" for a plain value or a set.
    ``unit``: a unit of measure, or what is counted; None if there is none. ``percent``: whether it ends
    with a percent sign. ``bases``: those that its numbers have as subscripts.
    """

    text: str
    words: str | None
    brackets: str
    unit: str | None
    percent: bool
    bases: tuple[str, ...]

    @property
    def letters(self) -> str:
        """The answer as words, also if it is a letter that may be a variable."""
        return self.words or self.text.strip("()").casefold()

    @property
    def is_inequality(self) -> bool:
        return _INEQUALITY.search(self.text) is not None


def notations(answer: str) -> list[Notation]:
    """Take an answer apart; in two ways if a letter after a number may be its unit or a variable."""
    return list(dict.fromkeys(_notation(answer, letters) for letters in (True, False)))


def _notation(answer: str, letters: bool) -> Notation:
    """``letters``: a single letter after a number and a space is a unit, if it can be one."""
    text = answer.replace("{,}", ",").replace("\u2212", "-").replace("\\left", "").replace("\\right", "")
    text = _SPACES.sub(" ", re.sub(r",\\!\s*", ",", text)).strip().strip("$").strip()
    words = _words(text)
    bases = tuple(_base(found[2]) for found in _BASED.finditer(text))
    text = _BASED.sub(r"\1", text)
    unit, text = _unit(text, letters)
    percent = _PERCENT.search(text)
    text = text[: percent.start()] if percent else text
    text = re.sub(r"\\?\$|[€£¥₹]", "", text).strip()
    text = _NAMED.sub("", text)
    text = text.replace(",", "") if _THOUSANDS.fullmatch(text) else text
    text = _MIXED_PLAIN.sub(r"\1(\2+\\frac{\3}{\4})", text)
    text = _MIXED.sub(r"(\1+\\frac{\2}{\3})", text)
    return Notation(text, words, _brackets(text), unit, percent is not None, bases)


def _words(text: str) -> str | None:
    """Return the words of an answer that is nothing else; letters alone may be variables."""
    inner = _TEXT.fullmatch(text)
    plain = (inner[1] if inner else text).strip().rstrip(".").strip()
    named = inner is not None or len(max(re.findall("[A-Za-z]+", plain) or [""], key=len)) > 2
    if named and _WORDS.fullmatch(plain) and "\\" not in plain:
        return " ".join(plain.casefold().strip("()[]").split())
    return None


def _base(written: str) -> str:
    name = "".join(_TEXT.sub(r"\1", written).strip("{}").split()).casefold()
    return _BASES.get(name, name)


def _unit(text: str, letters: bool) -> tuple[str | None, str]:
    """Return the unit of measure after a value, and the text without it and without other words."""
    degrees = _DEGREES.search(text)
    if degrees and degrees.start():
        return f"degree{degrees[1] or degrees[2] or ''}", text[: degrees.start()]
    letter = _LETTER_AFTER.fullmatch(text) if letters else None
    if letter:
        return _MEASURES[letter[2].casefold()] + (letter[3] or ""), letter[1]
    after = _TEXT_AFTER.search(text) or _WORDS_AFTER.search(text)
    if after is None or not text[: after.start()].strip():
        return None, text
    words = after[1].casefold().replace(".", "").split()
    name = _MEASURES.get(words[-1]) or _MEASURES.get(words[-1].removesuffix("s"))
    if name is None:
        if len(words[-1]) < (2 if after.re is _TEXT_AFTER else 4):
            return None, text
        name = words[-1].removesuffix("s")
    powers = {"square": "2", "sq": "2", "cubic": "3", "cu": "3"}
    return name + (after[2] or powers.get(words[0], "")), text[: after.start()]


def _brackets(text: str) -> str:
    """Return the outermost pair of a list in parentheses or square brackets."""
    side = text.rpartition("=")[2].strip().strip("$").strip()
    if len(side) < 2 or side[0] not in "([" or side[-1] not in ")]":
        return ""
    depth, listed = 0, False
    for place, letter in enumerate(side):
        depth += (letter in "([{") - (letter in ")]}")
        listed = listed or (letter == "," and depth == 1)
        if depth == 0 and place + 1 < len(side):
            return ""
    return side[0] + side[-1] if listed else ""
