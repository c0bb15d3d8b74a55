"""Extraction of the option that an answer to a multiple-choice question chooses."""

from __future__ import annotations

import re

#: An option's letter, on its own: "B", "(B)", "**B**", "$B$", "\\text{B}".
_OPTION = (
    r"[(\[*_$`' ]{0,6}(?:\\(?:text|textbf|mathrm|boxed)\{[( ]{0,2})?"
    r"(?P<letter>[A-Za-z])(?![A-Za-z0-9'’])"
)
_BOXED = re.compile(r"\\boxed\s*\{" + _OPTION)
_SAID = re.compile(
    r"(?:\b(?:the |my )?(?:final |correct |right |best )?(?:answer|choice|option)"
    r"(?:\s+(?:would be|must be|is|was))"
    r"|\b(?:answer|choice)\s*[:=]+|\b(?:i|we|i'd|i would)\s+(?:choose|chose|pick|select|go with)"
    r"|####)[:\s]*(?:therefore |thus |clearly )?(?:(?:option|choice|answer|letter)\b[: ]*)?" + _OPTION,
    re.IGNORECASE,
)
_IS_CORRECT = re.compile(
    r"(?:\b(?i:option|choice|answer)\s+[(*]{0,3}|(?<!\w)[(*]{1,3})"
    r"(?P<letter>[A-Z])[)*]{0,3}\s+is\s+(?:the\s+)?"
    r"(?:correct|right|best|answer)\b"
)
#: The whole answer, or its first or last line, is one option: "B", "(B)", "B.", "B) Paris".
_LINE = re.compile(
    r"[(*_$\[ ]{0,6}(?P<letter>[A-Z])[)*_$\]. :]{0,6}$"
    r"|[(*]{0,3}(?P<listed>[A-Z])[*]{0,2}[).:]\s*\S.*$"
)
#: What goes on after an option, and not after an article: words that begin no noun phrase, and those that
#: do ("a given number", "a for loop") only before a determiner or a letter.
_GOES_ON = (
    r"[ \t]+(?:(?:because|since|as|but|is|which|that|from|in|on|at|due to|rather than|instead of)\b(?!-)"
    r"|(?:for|given|if|when|where|while|with|by|not|over)\s+"
    r"(?:the|that|this|these|those|its?|we|you|all|an|[A-Za-z])\b"
    r"|and\s+[a-z]{2,}\b)"
)
#: A second option that is chosen too, and not the subject of a reason ("B, A is too small").
_TOO = (
    r"[)\]}*_`'$]{0,4}(?:[ \t]*[,/&][ \t]*(?:(?:and|or)[ \t]+)?|[ \t]+(?:and|or)[ \t]+)[(\[*_$`']{0,4}"
    r"(?P<too>[A-Za-z])(?![A-Za-z0-9'’]|[ \t]+(?!(?:because|since|as)\b)[A-Za-z])"
)
_ALSO = re.compile(_TOO)
_NOUN = re.compile(rf"(?!{_GOES_ON}|{_TOO})[ \t]+[a-z]")
#: A line may break after an article, but not before an empty line or a label ("Reason: …").
_CLOSED = re.compile(
    rf"{_TOO}|[)\]}}*_`'$]{{0,4}}(?:[ \t]*(?:\Z|\n(?=\s*\Z|[ \t]*\n|[*_]{{0,2}}[A-Z]\w*[ *_]{{0,3}}:))"
    rf"|[.;:!?](?=\s|\Z)|,(?=\s+(?:because|since|as)\b)|{_GOES_ON})"
)
_NEGATED = re.compile(r"(?:\bnot|n['’]t)(?:\s+(?:think|believe|say))?(?:\s+that)?\s*$", re.IGNORECASE)


def chosen_option(text: str, letters: str) -> str | None:
    """Return the letter (upper case) of the option that is chosen; None if it is none, or several.

    ``letters``: the letters of the options. The last ``\\boxed{}`` decides, else the last phrase that
    chooses ("the answer is B", "Answer: (B)", "I choose B", "option B is correct", ``#### B``), else an
    answer of one line, or a last line, that holds an option alone.
    """
    text = text[-20_000:]
    boxed = list(_BOXED.finditer(text))
    if boxed:
        return None if _several(text, boxed[-1], letters) else _of(boxed[-1], letters, upper=True)
    said = sorted([*_SAID.finditer(text), *_IS_CORRECT.finditer(text)], key=lambda match: match.end())
    said = [match for match in said if not _lost(text, match)]
    if said:
        return None if _several(text, said[-1], letters) else _of(said[-1], letters, upper=True)
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    if not lines:
        return None
    for line in (lines[-1], lines[0]) if len(lines) > 1 else lines:
        alone = _LINE.match(line)
        if alone and not (alone["listed"] and len(lines) > 1 and _lists(lines, letters)):
            return _of(alone, letters, upper=False)
    return None


def _lost(text: str, match: re.Match[str]) -> bool:
    """Whether the letter is a word ("the answer is a dog"), or the phrase denies it."""
    letter, after = match["letter"], match.end("letter")
    before = text[: match.start("letter")]
    if _NEGATED.search(text[: match.start()]):
        return True
    # In lower case, it is an option only where the phrase ends, or goes on as after one.
    word = _NOUN.match(text, after) if letter in "AI" else letter in "ai" and not _CLOSED.match(text, after)
    return bool(word) and not before.endswith(("(", "{", "*"))


def _several(text: str, match: re.Match[str], letters: str) -> bool:
    """Whether another option is joined to the chosen one: "B and C"."""
    also = _ALSO.match(text, match.end("letter"))
    return also is not None and also["too"].upper() in letters


def _lists(lines: list[str], letters: str) -> bool:
    """Whether several lines begin with an option, as where the question's options are repeated."""
    listed = {match["listed"] for line in lines if (match := _LINE.match(line)) and match["listed"]}
    return len(listed & set(letters)) > 1


def _of(match: re.Match[str], letters: str, upper: bool) -> str | None:
    found = next(group for group in match.groupdict().values() if group is not None)
    found = found.upper() if upper else found
    return found if found in letters else None
