"""The list of mutations: what each cuts out of the code, and the test that must then fail.

``python tests/mutants/entries.py`` writes the list as ``tests/mutants.md``.
"""

from __future__ import annotations

import ast
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PAGE = HERE.with_suffix(".md")

HEADER = """\
# Mutants

Each row cuts one mechanism out of the code and names the test that fails without it. `make mutants` applies
each to a copy of the tree and runs its test; `make mutants ONLY="loop gate"` takes those whose id begins with
`loop` or `gate`.
Generated from `tests/mutants/*.toml` by `python tests/mutants/entries.py`.
"""


class Misfit(Exception):
    """An entry that no longer fits the code or the tests. The message says why."""


@dataclass(frozen=True)
class Entry:
    """One mutation: ``find``, which is in ``file`` once, becomes ``replace``; then ``test`` must fail.

    ``test``: the node id of one test, or of a test function with all its parameters. ``cut``: what the code
    no longer does, in one sentence.
    """

    id: str
    file: str
    find: str
    replace: str
    test: str
    cut: str

    def mutated(self, root: Path) -> str:
        """The text of the file with the mutation. Raises Misfit where the entry does not fit the tree."""
        path = root / self.file
        if not path.is_file():
            raise Misfit(f"there is no {self.file}")
        text = path.read_text()
        if (found := text.count(self.find)) != 1:
            raise Misfit(f"{self.file} holds the text to find {found} times, not once")
        changed = text.replace(self.find, self.replace)
        if path.suffix == ".py":
            try:
                ast.parse(changed)
            except SyntaxError as error:
                raise Misfit(f"{self.file} is no Python any more: {error}") from None
        if changed == text:
            raise Misfit("the replacement changes nothing")
        self._find_test(root)
        return changed

    def _find_test(self, root: Path) -> None:
        file, _, name = self.test.partition("::")
        function = name.partition("[")[0]
        path = root / file
        if not path.is_file() or not re.search(
            rf"^(async )?def {re.escape(function)}\(", path.read_text(), re.M
        ):
            raise Misfit(f"there is no test {self.test}")


def read_entries(folder: Path = HERE) -> list[Entry]:
    """All entries, file by file. Raises TypeError where a field is missing or unknown."""
    return [
        Entry(**fields)
        for file in sorted(folder.glob("*.toml"))
        for fields in tomllib.loads(file.read_text())["mutant"]
    ]


def page(entries: list[Entry]) -> str:
    """The list as Markdown."""
    rows = [f"| `{each.id}` | {each.cut} | `{each.file}` | `{each.test}` |" for each in entries]
    return "\n".join([HEADER, "| id | what is cut out | file | test |", "|---|---|---|---|", *rows, ""])


if __name__ == "__main__":
    PAGE.write_text(page(read_entries()))
