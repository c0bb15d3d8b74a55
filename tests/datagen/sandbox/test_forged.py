"""The forgeries of the benchmark: none passes, each succeeds without protection,
and correct programs pass.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


@pytest.fixture(scope="module")
def forged() -> Iterator[Any]:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import forged

        yield forged
    finally:
        sys.path.remove(str(BENCHMARKS))
        for name in ("forged", "forgeries", "measuring"):
            sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def found(forged: Any) -> list[Any]:
    return list(forged.tried(forged.forgeries()))


def test_no_forgery_passes(found: list[Any]) -> None:
    assert [f"{each.forgery}: {each.verdict}" for each in found if each.passed_wrongly] == []


def test_every_forgery_succeeds_where_nothing_protects(found: list[Any]) -> None:
    assert [str(each.forgery) for each in found if not each.control] == []


def test_right_programs_pass_the_same_tests_unless_these_are_vacuous(found: list[Any]) -> None:
    assert [f"{each.forgery}: a right program is {each.right}" for each in found if each.right_fails] == []


def test_vacuous_suites_are_called_so(found: list[Any]) -> None:
    vacuous = [each for each in found if each.forgery.vacuous or each.forgery.weak]
    assert [f"{each.forgery}: {each.verdict}" for each in vacuous if each.verdict != "vacuous"] == []


def test_ten_families_and_more_of_at_least_sixty_cases(found: list[Any]) -> None:
    names = [str(each.forgery) for each in found]
    assert len(set(names)) == len(names) > 200
    assert len({each.forgery.family for each in found}) >= 10


def test_the_benchmark_complains_of_what_is_wrong(forged: Any) -> None:
    case = forged.Forgery("family", "name", "program", "tests", "right")
    said = {
        ("failed", "naive harness", "passed"): [],
        ("passed", "naive harness", "passed"): ["PASSES WRONGLY  family: name"],
        ("failed", "", "passed"): ["BROKEN ATTACK   family: name (its control does not succeed either)"],
        ("failed", "pytest", "error"): ["RIGHT JUDGED    family: name: a right program is error"],
    }
    for (verdict, control, right), expected in said.items():
        assert list(forged.complaints([forged.Tried(case, verdict, None, control, right)])) == expected


def test_a_file_of_forgeries_that_says_something_unknown_is_refused(forged: Any, tmp_path: Path) -> None:
    from forgeries import read  # type: ignore[import-not-found]

    file = tmp_path / "family.txt"
    file.write_text("# family\n\n=== a name [vacuous, strange]\n--- tests\nassert f\n")
    with pytest.raises(ValueError, match="family: a name: unknown strange"):
        list(read(file))
    file.write_text(
        "# family\n\n=== @one\nx = 1\n\n=== a name [reference]\n--- program\n@one\ny = 2\n--- "
        "reference\nz = 3\n"
    )
    [case] = read(file)
    assert (case.program, case.tests, case.decider) == ("x = 1\ny = 2\n", "z = 3\n", "reference")


def test_its_help_says_what_it_does() -> None:
    said = subprocess.run(
        [sys.executable, "-P", BENCHMARKS / "forged.py", "--help"], capture_output=True, text=True
    )
    assert said.returncode == 0
    assert "--quick" in said.stdout
