"""Separates the prose of a text from its code: fenced blocks, bare lines of code, inline code, URLs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

#: A fenced block, closed or up to the end of the text.
_FENCED = r"(?ms)^[ \t]*```.*?(?:^[ \t]*```[ \t]*$|\z)"
#: A block of documentation within Python.
_DOCUMENTATION = r'(?s)[rR]?""".*?(?:"""|\z)'
_INLINE = r"`[^`\n]*`|https?://\S+|www\.\S+"
_NAME = r"[A-Za-z_$@][\w$]*(?:[.:]+[\w$]+|->[\w$]+|\[[^\]\n]*\])*"
#: What the line of a program looks like. A line of prose matches none of these.
_LINES = (
    r".*[;{}][ \t]*(?://.*|#.*|/\*.*)?",
    r"[\])}]+[,;.)]*.*",
    r"(?:async )?def \w+ *\(.*",
    r"class \w+.*[:{]",
    r"(?:import|from) [\w.]+(?: import .+| as \w+)?",
    r"(?:if|elif|while|for|with|except|else|try|finally|match|case)\b.*:",
    r"(?:return|yield|raise|assert|print|puts|echo|var|let|const|del|await)\b"
    r"(?: .*[()\[\]=+*/<>'\"].*|[(].*| \w+|)",
    r"(?:pass|break|continue|end|begin|else|do|then|fi|done|esac)",
    r"#(?:include|define|ifdef|ifndef|endif|pragma|!).*",
    r"(?:public|private|protected|static|void|int|float|double|char|bool|string|String|func|fn|function|using"
    r"|namespace|package|struct|enum|interface|type)\b.*[(){}=;].*",
    r"(?:SELECT|INSERT INTO|UPDATE|DELETE FROM|CREATE (?:TABLE|VIEW|INDEX)|ALTER TABLE|FROM|WHERE|GROUP BY"
    r"|ORDER BY|INNER JOIN|LEFT JOIN|JOIN|HAVING|LIMIT|VALUES)\b.*",
    _NAME + r"(?:, *" + _NAME + r")*(?: *: *[\w\[\], .|]+)? *(?:[-+*/%&|^]|//|\*\*|<<|>>)?= *\S.*",
    _NAME + r"\(.*\)?,?",
    r"</?[A-Za-z!][^>\n]*>.*",
    r"(?:>>>|//|/\*|\*/)[ \t]?\S.*",
    r"\$ [a-z./~].*",
    r"@[A-Za-z_][\w.]*(?:\(.*\))?",
    r"['\"][\w -]+['\"] *:.*",
)
#: Code beside a line of code; of prose, an attribution or an omission.
_BESIDE = r"[ \t]*(?:\.\.\.|--).*"
_CODE_LINES = rf"(?m)(?:^{_BESIDE}\n)*^[ \t]*(?:{'|'.join(_LINES)})[ \t]*\r?$(?:\n{_BESIDE}$)*"


def prose(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """The texts without code, inline code and URLs. Nulls stay null."""
    import pyarrow.compute as pc

    for pattern in (_FENCED, _DOCUMENTATION, _CODE_LINES):
        texts = pc.replace_substring_regex(texts, pattern, "\n")
    return pc.replace_substring_regex(texts, _INLINE, " ")


def visible_characters(texts: pa.ChunkedArray) -> NDArray[np.float64]:
    """The number of characters that are not white space; NaN for a null. Shape ``(rows,)``."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    counts = pc.count_substring_regex(texts, pattern=r"[^\s\p{Z}\p{C}]")
    found: NDArray[np.float64] = counts.cast(pa.float64()).to_numpy().astype(np.float64)
    return found
