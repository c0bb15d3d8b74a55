"""Extraction of the final answer of a worked solution, as text: what is marked, or the last mathematics."""

from __future__ import annotations

import re

from .final_number import Find, final_number, first_number

_MARK = re.compile(
    r"(?P<boxed>\\f?boxed\s*\{)|(?P<hash>(?<!#)####(?!#))"
    r"|(?P<said>\banswer\b[*_` ]{0,4}(?:is|are)\b[ :]*|\banswer\b[*_` ]{0,4}[:=]"
    r"|\banswers\b[*_` ]{0,4}(?:are\b|:)(?=[\s*_`:]{0,9}[-+$\\(\[{\d]))",
    re.IGNORECASE,
)
_MATH = re.compile(
    r"\$\$(?P<a>[^$]{1,2000})\$\$|(?<![\\$])\$(?P<b>[^$\n]{1,2000}?)(?<!\\)\$(?!\d)"
    r"|\\\((?P<c>.{1,2000}?)\\\)|\\\[(?P<d>.{1,2000}?)\\\]",
    re.DOTALL,
)
_SENTENCE_END = re.compile(r"[.!?;](?=\s|$)|\n")
_VERB = re.compile(r"(?<!\bwhich )(?<!\bwho )\b(?:is|are|equals)\b:?", re.IGNORECASE)
_WHICH_IS = re.compile(r"\b(?:which|who) (?:is|are|equals)\b:?", re.IGNORECASE)
_REASON = re.compile(r"(?<=[\w)\]}$%!])(?:,?\s+(?:because|since)|,\s+(?:as|for|while|not))\b")
_NUMBER_FIRST = re.compile(r"[-+\u2212$€£¥₹(\[{\s]{0,9}(?:\.?\d|\\(?:[dt]?frac|sqrt|pi|begin|\$|\{))")
_FORMULA_FIRST = re.compile(r"\s*(?:\\(?!text|mathrm|mbox)|[A-Za-z]\s?[-+*/^_=<>(])")
#: Where words take over after mathematics. They may only name its unit.
_WORDS_BEGIN = re.compile(
    r"[,:]?\s+(?:not|as|because|since|which|so|for|when|if|where|while|with|that|but|after|before|given"
    r"|is|are|equals)\b"
    r"|,\s+(?!(?:and|or)\s+(?![A-Za-z]{2}))(?=[A-Za-z]{2})|\s+(?:and|or)\s+(?=[A-Za-z]{2})"
    r"|\s*\((?=[^()]*(?<![\\A-Za-z{])[A-Za-z]{3})|\s+[-–—]{1,3}\s+(?=[A-Za-z]{2})"
)
#: What explains a formula, and may have a verb of its own.
_ASIDE = re.compile(
    r",?\s+(?:where|when|whenever|if|while|given)\b|\s+\((?=[^()]*(?<![\\A-Za-z{])[A-Za-z]{3}[^()]*\)?\s*\Z)"
    r"|,\s+which\b(?!\s+(?:is|are|equals):?\s+[-+\u2212$\\\d])"
)
_AND = re.compile(r",?\s+(and|or)\s+(?=[^\s}])")
#: Arithmetic in words, whose result follows.
_IN_WORDS = re.compile(
    r"\d\s+(?:plus|minus|times|divided by|multiplied by)\s+[-$\\(\d]|(?:%|\bpercent)\s+of\s+[$\\\d]"
)
#: Values that are written so differ, as in "2 or 2.5". "1/2 or 0.5" says one again.
_LISTABLE = ({"integer", "decimal"}, {"integer", "exact"})
_INEQUALITY = re.compile(r"[<>\u2264\u2265]|\\(?:[lg]eq?|[lg]t)\b")
_NEXT = re.compile(r"\s*[,;]\s*(?:(?:and|or)\s+)?|\s+(?:and|or)\s+")
_STATED = re.compile(r"[ \t]*(?:[.,;:!?*_`\n]|\Z)")
_WORD_COMMAND = re.compile(r"\\(?:text|textbf|textnormal|textrm|mathrm|mbox)\s*\{[^{}]*\}")
#: What stands between the boxes of one list.
_BETWEEN = re.compile(
    r"(?:[\s,;$]|\\[,;:!()\[\] ]|\\q?quad|\b(?:and|or)\b|\\text\s*\{\s*,?\s*(?:and|or)\s*\})*"
)
_PROSE = re.compile(r"(?<![\\A-Za-z{])(?!(?:sin|cos|tan|log|exp|sqrt)\b)[A-Za-z]{3,}")
#: Longer texts are not answers, and slow to parse.
LONGEST = 400


def final_answer(text: str, find: Find = "last") -> str | None:
    """Return the text of the final answer without its mark and dollar signs; None if there is none.

    It is what the last ``\\boxed{}`` holds (the last ones, as a list, if only "and" or a comma is between
    them); else what follows the last ``####`` or "answer is", without the words after it: the first
    mathematics or number there, if there is one. With ``find="last"`` the fallback is a text that holds
    nothing else, then the last mathematics in dollar signs, then the last number. A box that is never closed
    was cut off, and is no answer.
    """
    marks = list(_MARK.finditer(text[-100_000:]))
    text = text[-100_000:]
    boxed = [mark for mark in marks if mark["boxed"]]
    if boxed:
        return _short(_last_boxes(text, boxed))
    if marks:
        said = text[marks[-1].end() :].lstrip(" \t\r\n*_`:").removeprefix("**")
        return _short(_first(said))
    return _unmarked(text) if find == "last" else None


def bare_answer(text: str) -> str | None:
    """Return the final answer of a reference: marked, or the whole text, or the last that a solution has."""
    marked = final_answer(text, "marked")
    if marked is not None or _MARK.search(text):
        return marked
    return _short(text) if "\n" not in text.strip() and len(text) <= LONGEST else _unmarked(text)


def _unmarked(text: str) -> str | None:
    if len(text) <= LONGEST and "\n" not in text.strip() and not _PROSE.search(text):
        return _short(text)
    spans = list(_MATH.finditer(text))
    if spans:
        return _short(_within(spans[-1]))
    number = final_number(text)
    return None if number is None else number.text


def _first(said: str) -> str:
    """Return the first mathematics or number of a sentence, or of what it states after a verb; else words."""
    said = said[: 10 * LONGEST]
    end = _SENTENCE_END.search(said)
    told, sentence = said[: end.start()] if end else said, ""
    if not _MATH.match(said) and not _NUMBER_FIRST.match(told):
        sentence = _REASON.split(told, maxsplit=1)[0]
        if _FORMULA_FIRST.match(sentence):
            sentence = _before(sentence, _ASIDE)
        said = told = (_VERB.split(sentence)[1:] or _WHICH_IS.split(sentence))[-1].lstrip()
    if _MATH.match(said):
        return _spans(said)
    if _NUMBER_FIRST.match(told) or _FORMULA_FIRST.match(told):
        whole, told = told, _before(told, _WORDS_BEGIN)
        parts = _AND.split(told)
        if _IN_WORDS.search(told) or not _one_kind(parts[::2]):
            result = final_number(_REASON.split(whole, maxsplit=1)[0])
            return result.text if result else told
        if len(parts) > 1:
            return _listed(parts)
    if not _PROSE.search(_WORD_COMMAND.sub("", told)) or len(told.split()) < 3:
        return told
    told = sentence if "=" in sentence else told
    span = next((each for each in _MATH.finditer(told) if re.search(r"\d", each[0])), None)
    number = first_number(told[: span.start()] if span else told)
    return number.text if number else _within(span) if span else told


def _spans(said: str) -> str:
    """Return the mathematics that a text begins with: of one span, or of the spans of a list."""
    parts: list[str] = []
    place = end = 0
    while span := _MATH.match(said, place):
        parts += [said[end : span.start()].strip(" ,;"), _within(span)]
        end = span.end()
        further = _NEXT.match(said, end)
        place = further.end() if further else len(said)
    return _listed(parts[1:]) if _STATED.match(said, end) else parts[1]


def _listed(parts: list[str]) -> str:
    """Return a list of parts, with what joins them in between; the first part if "or" says it again."""
    if len(parts) == 3 and parts[1] == "or":
        first, _, second = parts
        forms = {_form(first), _form(second)}
        if ("=" in second and "=" not in first) or (len(forms) > 1 and forms not in _LISTABLE):
            return first
    return ", ".join(parts[::2])


def _form(part: str) -> str:
    """Return how the value of an answer is written."""
    value = part.rpartition("=")[2].strip()
    if _INEQUALITY.search(part):
        return "inequality"
    if value.endswith("%"):
        return "percent"
    if re.search(r"\.\d", value):
        return "decimal"
    return "integer" if re.fullmatch(r"[-\u2212]?[\d,]+", value) else "exact"


def _one_kind(parts: list[str]) -> bool:
    """Whether parts have no words, or all the words of the last: their unit."""
    words = [_PROSE.findall(_WORD_COMMAND.sub("", part)) for part in parts]
    return not any(words[:-1]) or all(each == words[-1] for each in words)


def _within(span: re.Match[str]) -> str:
    return next(part for part in span.groups() if part is not None)


def _before(told: str, begin: re.Pattern[str]) -> str:
    """Return a statement up to the first words that begin so and stand in no brackets."""
    for words in begin.finditer(told):
        before = told[: words.start()]
        if before.strip() and sum(map(before.count, "([{")) == sum(map(before.count, ")]}")):
            return before
    return told


def _last_boxes(text: str, boxed: list[re.Match[str]]) -> str:
    """Return what the last box holds, after those before it that belong to the same list."""
    held = [_braced(text, boxed[-1].end())]
    for before, after in zip(reversed(boxed[:-1]), reversed(boxed[1:]), strict=True):
        content = _braced(text, before.end())
        if not content or not _BETWEEN.fullmatch(text, before.end() + len(content) + 1, after.start()):
            break
        held.insert(0, content)
    return ", ".join(held) if all(held) else ""


def _braced(text: str, start: int) -> str:
    depth = 1
    for place in range(start, min(len(text), start + 10 * LONGEST)):
        escaped = text[place - 1] == "\\"
        depth += 0 if escaped else (text[place] == "{") - (text[place] == "}")
        if depth == 0:
            return text[start:place]
    return ""


def _short(text: str) -> str | None:
    """Strip what surrounds an answer; None if nothing is left, or too much to be one."""
    plain = text.strip().strip("*_`").strip()
    span = _MATH.fullmatch(plain)
    if span:
        plain = _within(span).strip()
    plain = plain.rstrip(".").strip()
    return plain if 0 < len(plain) <= LONGEST else None
