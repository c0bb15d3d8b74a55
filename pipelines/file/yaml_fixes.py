"""What to write instead of a text that is not YAML: mostly quotes."""

from __future__ import annotations

import yaml

#: Characters that begin something else than a text.
_NO_BEGINNINGS = "@`%"
_ANCHORS = "*&"
TEMPLATE = 'a template needs quotes: "{{ name }}"'


def fix_of(error: yaml.MarkedYAMLError, text: str) -> str | None:
    """The fix for the place where ``text`` stops being YAML; None if it is not clear."""
    mark = error.problem_mark
    lines = text.splitlines()
    if mark is None or mark.line >= len(lines):
        return _open(error)
    line, column = lines[mark.line], mark.column
    here, before = line[column : column + 1], line[:column]
    if here in ("{", "[") and before.endswith("$"):
        name = line[column:].split("}")[0].lstrip("{")
        return f'in {{ }} and [ ], a text with a variable needs quotes: "${{{name}}}"'
    if "}}" in before[before.rfind("{{") :] and "{{" in before:
        return TEMPLATE
    if here == "\t":
        return "indent with spaces, not with tabs"
    if here and here in _NO_BEGINNINGS:
        return f"a text that begins with {here} needs quotes"
    if before and before[-1] in _ANCHORS:
        return f"a text that begins with {before[-1]} needs quotes"
    if here == ":":
        return 'a text with ": " in it needs quotes; a key needs the indentation of the keys beside it'
    if before.rstrip().endswith(('"', "'")) or before.rstrip().endswith(("'s", "'t")):
        return "the quotes end before the value does: write a quote inside of single quotes twice ('')"
    return _open(error)


def _open(error: yaml.MarkedYAMLError) -> str | None:
    """The fix for what is never closed."""
    opened = {"flow mapping": "}", "flow sequence": "]", "quoted scalar": "quote"}
    for what, closing in opened.items():
        if what in str(error.context):
            line = error.context_mark.line + 1 if error.context_mark else 1
            return f"a {closing} is missing for what begins in line {line}"
    return None
