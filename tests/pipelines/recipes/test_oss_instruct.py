"""OSS-Instruct's recipe over a real git repository, with a scripted teacher."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

#: What the teacher writes for the functions of these names.
SOLUTIONS = {
    "add": "```python\ndef total(numbers):\n    return sum(numbers)\n```\nIt adds.",
    "broken": "```python\ndef total(numbers:\n```",
    "copy": "{source}",
    "known": "```python\nprint(1)\n```",
    "words": "There is no code.",
    "Go": "```go\npackage main\n\nfunc Twice(a int) int { return 2 * a }\n```",
}
EVAL = "Write a function that returns the sum of all even numbers that are in a list of whole numbers."


def functions(language: str) -> str:
    names = [name for name in SOLUTIONS if (name == "Go") == (language == "go")]
    if language == "go":
        return "package p\n\nfunc Go(a int) int {\n\tb := a\n\tc := b\n\treturn c\n}\n"
    return "\n\n".join(
        f"def {name}(x):\n" + "".join(f"    {name}_{n} = x + {n}\n" for n in range(4)) + "    return x\n"
        for name in names
    )


def test_oss_instruct(recipe: Any, exported: Any, tmp_path: Path) -> None:
    folder = tmp_path / "project"
    (folder / "vendor").mkdir(parents=True)
    (folder / "LICENSE").write_text("Apache-2.0")
    (folder / "a.py").write_text(functions("python"))
    (folder / "b.go").write_text(functions("go"))
    (folder / "vendor" / "c.py").write_text(
        "def vendored(x):\n    a = 1\n    b = 2\n    c = 3\n    return x\n"
    )
    git = ["git", "-C", str(folder), "-c", "user.name=T", "-c", "user.email=t@example.org"]
    for arguments in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "all"]):
        subprocess.run([*git, *arguments], check=True)

    def teacher(prompt: str, seed: int) -> str:
        source = re.search(r"```\w+\n(.*?)\n```", prompt, re.S)[1]  # type: ignore[index]
        name = re.search(r"(?:def|func) (\w+)", source)[1]  # type: ignore[index]
        problem = EVAL if name == "known" else f"Solve the problem that is called {name}."
        solution = SOLUTIONS[name].replace("{source}", f"```python\n{source}\n```")
        return f"<problem>{problem}</problem>\n<solution>{solution}</solution>"

    settings = [
        "steps.unique={dedup: exact, columns: [prompt], from: sound}",
        "steps.code.units=[function]",
        # The functions of the test are alike.
        "steps.distinct={dedup: exact, columns: [source], from: code}",
    ]
    variables = {"repositories": str(folder)}
    run = recipe("oss_instruct", teacher, variables, *settings, evals=[{"prompt": EVAL}])
    assert {row["name"] for row in run["seeds"].to_arrow().to_pylist()} == {*SOLUTIONS}
    rows = {row["messages"][0]["content"].split()[-1].rstrip("."): row for row in exported("dataset")}
    assert set(rows) == {"add", "Go"}
    added = rows["add"]
    assert added["messages"][1]["content"] == SOLUTIONS["add"]
    assert (added["path"], added["start_line"], added["stop_line"]) == ("a.py", 1, 6)
    assert (added["language"], added["license"], rows["Go"]["language"]) == ("python", "LICENSE", "go")
