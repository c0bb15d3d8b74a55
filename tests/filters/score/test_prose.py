"""Lines of a program are told from prose, where both begin alike."""

from __future__ import annotations

import pyarrow as pa
import pytest

from gristmill.filters.score.prose import prose


def spoken(text: str) -> str:
    return " ".join(prose(pa.chunked_array([pa.array([text])]))[0].as_py().split())


@pytest.mark.parametrize(
    "line",
    [
        "$18 is how much Janet makes every day at the market.",
        "@alice asked whether the meeting is on Monday.",
        "-- Albert Einstein said that imagination is more important than knowledge.",
        "... and then they lived happily ever after.",
        "--verbose tells more",
    ],
)
def test_a_sentence_is_prose_however_it_begins(line: str) -> None:
    assert spoken(line) == line
    assert spoken(f"He told a story.\n{line}\nIt was short.") == f"He told a story. {line} It was short."


@pytest.mark.parametrize(
    "code",
    [
        "$ pip install gristmill",
        "  $ ./run.sh --fast",
        "@property",
        "@functools.cache\ndef f(x):\n    return x",
        "@app.route('/users', methods=['GET'])",
        ">>> for n in range(3):\n...     print(n)\n...",
        "-- the newest first\n-- and no more than ten\nSELECT name FROM users\n-- of all\nLIMIT 10",
        "// adds one\nx = x + 1",
    ],
)
def test_commands_decorators_and_comments_are_code(code: str) -> None:
    assert spoken(code) == ""
    assert spoken(f"Like this:\n\n{code}\n\nThat is all.") == "Like this: That is all."
