"""A path in place of an operator's name: ``source: a.jsonl`` instead of ``source: jsonl, path: a.jsonl``."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ...contracts.nearest import brief
from ..sources.file_kinds import source_of

#: The verbs with a parameter `path`.
_VERBS = ("source", "export")
#: A name with an ending, or with a folder.
_PATH = re.compile(r".*(/|\.[A-Za-z]\w{0,8}(\.\w{1,4})?$)", re.DOTALL)
#: Endings that name a kind of data for themselves -> the source that reads them.
_DOCUMENTS = (".txt", ".md", ".html", ".htm", ".pdf", ".docx")


def path_as_operator(verb: str, value: object, names: Sequence[str]) -> str | None:
    """What to write instead of a path as the value of a verb; None if ``value`` is no path."""
    if verb not in _VERBS or not isinstance(value, str) or not _PATH.match(value):
        return None
    kind = "documents" if value.lower().endswith(_DOCUMENTS) else source_of(value)
    some = kind if kind in names else "KIND"
    fix = f"write `{verb}: {some}, path: {value}`"
    kinds = "" if some == kind else f", with one of {', '.join(names)} as KIND"
    return f"should be a kind of data, not a path; found {brief(value)}: {fix}{kinds}"
