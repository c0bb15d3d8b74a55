from __future__ import annotations

import pytest

from gristmill.contracts import registry
from gristmill.pipelines.cli.main import COMMANDS, main
from gristmill.pipelines.reference.topics import topics


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["help", *words]) == 0
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["help", *words]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


def test_without_a_word_it_lists_verbs_and_parts_of_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    told = said(capsys)
    for verb in registry.verbs():
        assert f"\n  {verb} " in told
    for name in ("file", "models", "budget", "parser", "sandbox"):
        assert f"\n  {name} " in told


def test_a_verb_lists_its_operators_each_with_its_summary(capsys: pytest.CaptureFixture[str]) -> None:
    told = said(capsys, "dedup")
    assert told.startswith("dedup: Removes duplicate and near-duplicate rows.\n")
    for name in registry.names("dedup"):
        assert f"\n  {name} " in told
    assert "Keeps the first of the rows with equal texts" in told


def test_an_operator_has_summary_parameters_columns_and_example(capsys: pytest.CaptureFixture[str]) -> None:
    told = said(capsys, "select", "cluster_quota")
    assert told.startswith("select: cluster_quota\n\nKeeps the same number of rows from each cluster")
    for part in (
        "  rows (whole number, above 0; required)\n      Rows to keep in total",
        "  pick (`nearest` or `random`; default `nearest`)\n",
        "  embedder (name of an embedder; default none)\n",
        "\nColumns that it adds:\n  cluster (int32): number of the row's cluster",
        "\nRows that it filters, by rule:\n  cluster_quota: ",
        "\nExample:\n  chosen: {select: cluster_quota, clusters: 24, rows: 200, from: clean}\n",
        "gristmill help steps",
    ):
        assert part in told
    assert max(map(len, told.splitlines())) <= 100


@pytest.mark.parametrize(
    ("words", "start"),
    [
        (("keep",), "keep\n"),
        (("cluster_quota",), "select: cluster_quota\n"),
        (("source", "module:function"), "source: module:function\n"),
        (("models", "openai"), "engine: openai\n"),
        (("parser", "json"), "parser: json\n"),
        (("sandbox",), "sandbox\n"),
        (("file",), "The file\n"),
        (("steps",), "steps\n"),
    ],
    ids=" ".join,
)
def test_words_that_lead_to_a_page(
    words: tuple[str, ...], start: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said(capsys, *words).startswith(start)


def test_every_page_can_be_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    for topic in topics():
        for entry in topic.entries:
            assert said(capsys, topic.name, entry.name).startswith(entry.title)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("selct",), "help: unknown verb or part of a file: found 'selct'; did you mean 'select'?\n"),
        (
            ("select", "cluster_qota"),
            "help: unknown operator of 'select': found 'cluster_qota'; did you mean 'cluster_quota'?\n",
        ),
        (("parser", "jsn"), "help: unknown kind of 'parser': found 'jsn'; did you mean 'json'?\n"),
        (("keep", "x"), "help: unknown operator of 'keep': found 'x'; there is 'keep'\n"),
        (
            ("run",),
            "help: 'run' is a command, not a part of a pipeline file: gristmill run --help\n",
        ),
        (("clean",), "help: 'clean' is a packaged recipe: gristmill recipes clean\n"),
        (
            ("openai", "x"),
            "help: 'openai' belongs to a verb or a part of a file: `gristmill help models openai`\n",
        ),
    ],
    ids=" ".join,
)
def test_a_bad_word_is_one_sentence_with_the_nearest(
    words: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refused(capsys, *words) == told


def test_a_name_of_several_operators_names_each(capsys: pytest.CaptureFixture[str]) -> None:
    told = refused(capsys, "constraints")
    assert "`gristmill help source constraints`" in told
    assert "`gristmill help verify constraints`" in told


@pytest.mark.parametrize("word", sorted({*COMMANDS} & {topic.name for topic in topics()}))
def test_a_verb_with_the_name_of_a_command_says_so(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    name = [] if word == "keep" else [next(topic for topic in topics() if topic.name == word).entries[0].name]
    assert said(capsys, word, *name).endswith(f"The command of this name: gristmill {word} --help\n")
