"""Edits from a real repository, with commit messages as instructions; other changes are skipped."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from gristmill.contracts.errors import DataError
from gristmill.datagen.edits.diffs import applied
from gristmill.datagen.sources.git_history import GitHistory, without_trailers

PERSON = {"NAME": "A", "EMAIL": "a@example.org", "DATE": "2024-01-01T00:00:00Z"}
ENVIRONMENT = {
    f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in PERSON.items()
}
BODY = "    total = 0\n    for x in xs:\n        total += x\n    return total\n"
ADD = f"def add(xs):\n{BODY}"
OTHER = (
    "\n\nclass Box:\n    def get(self):\n        # as it is\n        value = self.value\n        return "
    "value\n"
)


class Here:
    seed, step = 17, "history"

    def check(self) -> None: ...


def git(folder: Path, *arguments: str) -> str:
    environment = {**os.environ, **ENVIRONMENT, "GIT_CONFIG_GLOBAL": "/dev/null"}
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repository")
    git(folder, "init", "-q", "-b", "main")
    file = folder / "a b.py"

    def commit(message: str, text: str, **others: str | bytes) -> None:
        file.write_text(text)
        for name, content in others.items():
            path = folder / f"{name}.py"
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        git(folder, "add", "-A")
        git(folder, "commit", "-q", "-m", message)

    commit("The first commit of all", ADD + OTHER, latin=b"x = '\xe9'\n")
    commit(
        "Count from one, not zero\n\nAs the book has it.\n\nSigned-off-by: A <a@example.org>\nChange-Id: I12",
        ADD.replace("= 0", "= 1") + OTHER,
        latin=b"x = '\xe8'\n",
    )
    git(folder, "tag", "one")
    commit("Only a comment is changed", ADD.replace("= 0", "= 1") + OTHER.replace("as it is", "so it is"))
    commit("Write all of it anew", "def add(xs):\n    return sum(xs) + 1\n" + OTHER)
    commit("wip", "def add(xs):\n    return sum(xs) + 2\n" + OTHER)
    git(folder, "checkout", "-q", "-b", "side", "one")
    commit(
        "Get the box's value at once",
        ADD.replace("= 0", "= 1")
        + OTHER.replace(
            "value = self.value\n        return value", "value = self.value or 0\n        return value"
        ),
    )
    git(folder, "checkout", "-q", "main")
    git(folder, "merge", "-q", "-s", "ours", "-m", "Merge the side branch here", "side")
    commit(
        "Many functions are changed at once",
        "",
        more="".join(f"def f{n}(x):\n    y = x\n    z = y\n    return {n}\n" for n in range(5)),
    )
    commit(
        "Many functions are changed again",
        "",
        more="".join(f"def f{n}(x):\n    y = x\n    z = y\n    return -{n} - 1\n" for n in range(5)),
    )
    return folder


def read(source: GitHistory) -> list[dict[str, Any]]:
    return pa.Table.from_batches(list(source.read(Here()))).to_pylist()  # type: ignore[arg-type]


def test_edits_of_functions(repository: Path) -> None:
    rows = read(GitHistory(path=str(repository)))
    assert {(row["subject"], row["function"]) for row in rows} == {
        ("Count from one, not zero", "add"),
        ("Get the box's value at once", "Box.get"),
    }
    for row in rows:
        assert applied(row["diff"], row["before"]) == row["after"] != row["before"]
        assert row["path"] == "a b.py"
        assert row["changed_lines"] == 2
        assert len(row["commit"]) == 40
    [count] = [row for row in rows if row["function"] == "add"]
    assert count["instruction"] == "Count from one, not zero\n\nAs the book has it."
    assert count["before"] == ADD
    assert count["changed_fraction"] == pytest.approx(1 / 5)
    assert rows == read(GitHistory(path=str(repository))), "the same again"


def test_edits_of_files_and_what_may_be_changed(repository: Path) -> None:
    rows = read(GitHistory(path=str(repository), unit="file", max_changed=1))
    subjects = [row["subject"] for row in rows]
    assert "Write all of it anew" in subjects
    assert "Many functions are changed again" in subjects
    assert not {
        "Only a comment is changed",
        "Merge the side branch here",
        "The first commit of all",
        "wip",
    } & {*subjects}
    assert {row["function"] for row in rows} == {None}
    many = read(GitHistory(path=str(repository), most=5))
    assert sum(row["subject"] == "Many functions are changed again" for row in many) == 5
    assert list(GitHistory(path=str(repository), unit="file", max_lines=2, max_changed=1).read(Here())) == []  # type: ignore[arg-type]


def test_only_a_newline_ends_a_subject(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "-b", "main")
    subject = "Count from one,\u2028not zero"
    for number, message in enumerate(["The first commit of all", subject]):
        (tmp_path / "a.py").write_text(ADD.replace("= 0", f"= {number}"))
        git(tmp_path, "add", "-A")
        git(tmp_path, "commit", "-q", "-m", message)
    assert [row["subject"] for row in read(GitHistory(path=str(tmp_path)))] == [
        "Count from one,\u2028not zero"
    ]


def test_ranges_and_how_many(repository: Path) -> None:
    path = str(repository)
    assert [row["subject"] for row in read(GitHistory(path=path, rev="one"))] == ["Count from one, not zero"]
    assert [row["subject"] for row in read(GitHistory(path=path, rev="one..side"))] == [
        "Get the box's value at once"
    ]
    assert len(read(GitHistory(path=path, rows=1))) == 1
    assert list(GitHistory(path=path, suffix=".md").read(Here())) == []  # type: ignore[arg-type]


def test_several_repositories_and_none(repository: Path) -> None:
    path = str(repository)
    one = read(GitHistory(path=path))
    assert read(GitHistory(path=(path, path))) == one * 2
    none = GitHistory(path=())
    assert (list(none.read(Here())), none.content(), none.estimate(0).rows) == ([], {}, 0)  # type: ignore[arg-type]


def test_the_fingerprint_follows_the_revision(repository: Path) -> None:
    one, head = (GitHistory(path=str(repository), rev=rev).content() for rev in ("one", "HEAD"))
    assert set(one.values()) != set(head.values())
    assert GitHistory(path=str(repository)).estimate(0).rows >= 1


@pytest.mark.parametrize(("rev", "reason"), [("nothing", "nothing"), ("one..nothing", "one..nothing")])
def test_an_unknown_revision_is_told(repository: Path, rev: str, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        read(GitHistory(path=str(repository), rev=rev))


def test_no_repository_and_no_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="no such folder"):
        read(GitHistory(path=str(tmp_path / "nowhere")))
    with pytest.raises(DataError, match="not a git repository"):
        read(GitHistory(path=str(tmp_path)))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError, match="needs the program git"):
        read(GitHistory(path=str(tmp_path)))


def test_trailers_go_and_nothing_else_does() -> None:
    assert without_trailers("Do it\n\nFixes: #12\nReviewed-by: B\n") == "Do it"
    assert without_trailers("Note: this\n\nFixed-by: hand is not how") == "Note: this"
    assert without_trailers("Do this: that\n") == "Do this: that"
    assert without_trailers("\n") == ""
