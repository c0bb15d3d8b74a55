from __future__ import annotations

import sys
from pathlib import Path

import pytest

from gristmill.contracts import code_origin, user_function
from gristmill.contracts.errors import DataError
from gristmill.contracts.user_function import is_reference, load, look_in, source_digest


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(user_function, "_folders", [])
    monkeypatch.setattr(user_function, "_imported", {})
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith("uf_"):
            del sys.modules[name]


def test_functions_and_methods_are_found(folder: Path) -> None:
    (folder / "uf_mine.py").write_text(
        "def one():\n    return 1\nclass Box:\n    @staticmethod\n    def two():\n        return 2\n"
    )
    assert load("uf_mine:one")() == 1
    assert load("uf_mine:Box.two")() == 2


def test_the_folder_of_the_pipeline_file_is_searched_too(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("file")
    (other / "uf_there.py").write_text("from uf_beside import three\n")
    (other / "uf_beside.py").write_text("def three():\n    return 3\n")
    with pytest.raises(DataError, match="no module named 'uf_there'"):
        load("uf_there:three")
    look_in(other)
    assert load("uf_there:three")() == 3


def test_an_edit_is_seen_in_the_same_process(folder: Path) -> None:
    module = folder / "uf_edit.py"
    module.write_text("def f():\n    return 1\n")
    before = source_digest("uf_edit:f")
    assert source_digest("uf_edit:f") == before
    module.write_text("def f():\n    return 2222\n")
    assert source_digest("uf_edit:f") != before
    assert load("uf_edit:f")() == 2222


def test_the_digest_is_of_the_defining_module_and_the_name(folder: Path) -> None:
    (folder / "uf_defines.py").write_text("def f():\n    pass\ndef g():\n    pass\n")
    (folder / "uf_exports.py").write_text("from uf_defines import f\n")
    assert source_digest("uf_exports:f") == source_digest("uf_defines:f") != source_digest("uf_defines:g")
    before = source_digest("uf_exports:f")
    (folder / "uf_exports.py").write_text("from uf_defines import f  # the same\n")
    assert source_digest("uf_exports:f") == before


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("no colon", "write module:function"),
        ("uf_some:2x", "write module:function"),
        ("uf_some:coont", "did you mean 'count'"),
        ("uf_sone:count", "did you mean 'uf_some'"),
        ("uf_some:number", "is a int, not a function"),
        ("uf_broken:f", "ZeroDivisionError"),
        ("uf_syntax:f", "SyntaxError"),
        ("uf_needs:f", "No module named 'uf_absent_package'"),
    ],
)
def test_what_cannot_be_used_is_one_clear_error(folder: Path, reference: str, message: str) -> None:
    (folder / "uf_some.py").write_text("number = 3\ndef count():\n    pass\n")
    (folder / "uf_broken.py").write_text("1 / 0\n")
    (folder / "uf_syntax.py").write_text("def f(:\n")
    (folder / "uf_needs.py").write_text("import uf_absent_package\n")
    with pytest.raises(DataError) as caught:
        load(reference)
    assert message in str(caught.value)


COMMANDS = """
import functools, os, subprocess, numpy
from operator import itemgetter
from os import system
from subprocess import check_output as run

first = itemgetter("prompt")
evaluated = eval
half = functools.partial(subprocess.check_output, shell=True)
root = numpy.sqrt


class Runner:
    call = staticmethod(os.system)


def own(row):
    return {"n": len(row)}


own_part = functools.partial(own)
own_cached = functools.lru_cache(own)
"""


@pytest.mark.parametrize(
    "name",
    ["system", "run", "subprocess.check_output", "os.system", "os.path.join", "first", "evaluated", "half",
     "Runner.call", "root", "numpy.load", "functools.partial"],
)  # fmt: skip
def test_no_function_of_python_or_of_any_package_is_a_step_by_way_of_a_users_module(
    folder: Path, name: str
) -> None:
    (folder / "uf_commands.py").write_text(COMMANDS)
    with pytest.raises(DataError, match=r"is defined in .*write your own function that calls it"):
        load(f"uf_commands:{name}")


def test_a_users_function_may_be_wrapped_by_python(folder: Path) -> None:
    (folder / "uf_commands.py").write_text(COMMANDS)
    assert load("uf_commands:own_part")({}) == load("uf_commands:own_cached").__wrapped__({}) == {"n": 0}
    assert source_digest("uf_commands:own_part") == source_digest("uf_commands:own")
    assert source_digest("uf_commands:own_part") != source_digest("uf_commands:Runner")


@pytest.mark.parametrize(
    ("reference", "why"),
    [
        ("subprocess:check_output", "subprocess is a module of Python's standard library"),
        ("os:system", "os is a module of Python's standard library"),
        ("posix:system", "posix is a module of Python's standard library"),
        ("builtins:eval", "builtins is a module of Python's standard library"),
        ("antigravity:fly_away", "antigravity is a module of Python's standard library"),
        ("test.support.script_helper:run_test_script", "test is an installed package that offers no steps"),
        ("numpy.f2py.crackfortran:crackfortran", "numpy is an installed package that offers no steps"),
        ("pytest:console_main", "pytest is an installed package that offers no steps"),
        ("gristmill.pipelines.cli.main:main", "gristmill offers its operators by their names"),
    ],
)
def test_modules_of_python_and_of_packages_are_refused_before_they_are_imported(
    folder: Path, monkeypatch: pytest.MonkeyPatch, reference: str, why: str
) -> None:
    monkeypatch.setattr(
        user_function.importlib, "import_module", lambda name: pytest.fail(f"{name} was imported")
    )
    with pytest.raises(DataError) as refused:
        load(reference)
    assert why in str(refused.value)
    assert "write your own function" in str(refused.value)


def test_a_package_that_offers_functions_is_no_stranger(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = tmp_path_factory.mktemp("library")
    for name in ("uf_offers", "uf_keeps"):
        (library / f"{name}.py").write_text("def f():\n    return 7\n")
        (library / f"{name}-1.0.dist-info").mkdir()
        (library / f"{name}-1.0.dist-info" / "METADATA").write_text(f"Name: {name}\nVersion: 1.0\n")
    (library / "uf_offers-1.0.dist-info" / "entry_points.txt").write_text(
        "[gristmill.functions]\nall = uf_offers\n"
    )
    sys.path.append(str(library))
    monkeypatch.setattr(code_origin, "_libraries", lambda: (library,))
    code_origin._offering.cache_clear()
    try:
        assert load("uf_offers:f")() == 7
        with pytest.raises(DataError, match="uf_keeps is an installed package that offers no steps"):
            load("uf_keeps:f")
    finally:
        code_origin._offering.cache_clear()


def test_the_package_itself_is_never_put_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(user_function.__file__).parents[1]
    monkeypatch.chdir(root)
    monkeypatch.setattr(sys, "path", [each for each in sys.path if Path(each or ".").resolve() != root])
    with pytest.raises(DataError, match="no module named 'uf_absent'"):
        load("uf_absent:f")
    assert str(root) not in sys.path


def test_references_are_told_from_other_text() -> None:
    assert is_reference("a.b:c.d")
    assert not any(map(is_reference, ["a", "a:", ":b", "a b:c", "https://x:y"]))
