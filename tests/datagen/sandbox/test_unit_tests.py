"""What counts as a test: suites of models pass only on correct programs, and vacuous tests do not count."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from gristmill.datagen.sandbox.jobs import RunTests
from gristmill.datagen.sandbox.limits import Limits
from gristmill.datagen.sandbox.pool import Sandbox
from gristmill.datagen.sandbox.results import JobResult, Status


def _written() -> dict[str, str]:
    text = Path(__file__).with_name("written_suites.txt").read_text(encoding="utf-8")
    _, *blocks = re.split(r"^=== (.+)\n", text, flags=re.M)
    return dict(zip(blocks[::2], blocks[1::2], strict=True))


#: Suites as models write them, for a program that adds one and raises ValueError("negative") below zero.
SUITES = _written()
PROGRAM = SUITES.pop("the program")
WRONG = PROGRAM.replace("return x + 1", "return x + 2").replace('raise ValueError("negative")', "pass")


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    with Sandbox(Limits(wall_seconds=300, cpu_seconds=3), workers=1) as sandbox:
        yield sandbox


def ran(box: Sandbox, tests: str, program: str = PROGRAM) -> JobResult:
    return box.run_now(RunTests(program, tests))


@pytest.mark.parametrize("name", SUITES)
def test_a_suite_passes_on_the_right_program_and_fails_on_the_wrong_one(box: Sandbox, name: str) -> None:
    right, wrong = ran(box, SUITES[name]), ran(box, SUITES[name], WRONG)
    assert right.passed, right
    assert right.tests
    assert ("vacuous" in right.message) == (name == "a skipped one beside others")
    assert wrong.status is Status.FAILED, wrong


def test_vacuous_tests_beside_real_ones_do_not_count(box: Sandbox) -> None:
    tests = (
        "import pytest\n"
        "def test_real(): assert f(1) == 2\n"
        "@pytest.mark.skip\ndef test_skipped(): assert f(1) == 2\n"
        "def test_generator():\n    assert f(1) == 2\n    yield\n"
        "def test_tuple(): assert (f(1) == 2, 'two')\n"
        "def test_value(): return f(1) == 2\n"
        "def test_empty():\n    for x in []: assert f(x) == 2\n"
        "def test_other(): assert 1 + 1 == 2\n"
    )
    result = ran(box, tests)
    assert (result.status, [test.name for test in result.tests]) == (Status.PASSED, ["test_real"])
    assert result.message == (
        "6 vacuous, which do not count (test_skipped: it is skipped; "
        "test_generator: it is a generator, which nobody runs; test_tuple: what it asserts is true "
        "of any program; "
        "test_value: it returns a value, and asserts nothing; test_empty: no assertion ran; and 1 more)"
    )
    wrong = ran(box, tests, WRONG)
    assert (wrong.status, wrong.failed_tests) == (Status.FAILED, ("test_real",))


@pytest.mark.parametrize(
    ("tests", "reason"),
    [
        ("def test_f():\n    f(1)", "test_f: no assertion ran"),
        ("print(f(1))", "line 1: no assertion ran"),
        ("f(1)\nif False:\n    assert f(1) == 2", "line 1: no assertion ran; line 2: no assertion ran"),
        ("def test_f():\n    assert True", "test_f: what it asserts is true of any program"),
        ("two = 2\ndef test_f():\n    f(1)\n    assert two == 2 and len('ab') == two",
         "what it asserts is true of"),
        ("f(1)\nassert all(f(x) == 2 for x in [])", "no assertion ran"),
        ("import math\ndef test_pi():\n    assert math.pi > 3",
         "test_pi: it has nothing to do with the program"),
        ("def f(x): return x + 1\nassert f(1) == 2", "line 2: it has nothing to do with the program"),
        ("from operator import pos as f\ndef test_f():\n    assert f(2) == 2",
         "it has nothing to do with the program"),
        ("import unittest\nraise unittest.SkipTest('later')",
         "line 2 of the tests ends them: it skips itself: later"),
        ("import pytest\npytest.skip('later', allow_module_level=True)", "it skips itself: later"),
        ("import pytest\ndef test_f():\n    pytest.xfail('later')", "test_f: it may fail: later"),
        ("class TestF:\n    def test_f(self):\n        try:\n            assert f(1) == 2\n"
         "        except Exception as e:\n            print(e)", "TestF.test_f: no assertion ran"),
    ],
)  # fmt: skip
def test_a_suite_that_tests_nothing_is_vacuous_and_says_why(box: Sandbox, tests: str, reason: str) -> None:
    for program in (PROGRAM, WRONG):
        result = ran(box, tests, program)
        assert result.status is Status.VACUOUS, result
        assert reason in result.message
        assert result.tests == ()


@pytest.mark.parametrize(
    ("tests", "right", "wrong"),
    [
        ("assert f(1) == 2 or f(1) == 3", "2", "4"),
        ("assert False or f(1) == 2", "2", "0"),
        ("assert f(1) == 2 and [f(1)]", "2", "0"),
        ("assert not (f(1) == 3 or not [f(1)])", "2", "3"),
        ("assert f(1) < 2 or f(1) >= 2", "2.0", "float('nan')"),
        ("got = f(1)\nassert got == got", "2.0", "float('nan')"),
        ("got = f(1)\nassert got is not None and got == got", "2", "None"),
        ("assert f(1) == f(1)", "2", "object() if x else {}[0]"),
        ("assert isinstance(f(1), int)", "2", "'2'"),
        ("assert any([f(1) == 2, f(1) == 3, False])", "2", "4"),
        ("assert all([f(1) == 2, True])", "2", "4"),
        ("assert len([*f(1)]) == 1", "[2]", "[]"),
        ("assert {**f(1)}", "{1: 2}", "{}"),
        ("assert [*f(1)]", "[2]", "[]"),
        ("assert f'{f(1)}'", "2", "''"),
        ("assert str(f(1))", "2", "''"),
        ("assert not f(1)", "0", "1"),
        ("assert not (f(1) == 2 and f(1) == 3)", "4", "type('E', (int,), {})(2) if 0 else {}[0]"),
        ("assert [0][f(1)] == 0 or f(1) != 0", "0", "7"),
        ("assert (f(1) == 2) is (f(1) == 2)", "2", "{}[0]"),
        ("import unittest\nclass T(unittest.TestCase):\n    def test_f(self): self.assertFalse(f(1))",
         "0", "1"),
        ("import unittest\nclass T(unittest.TestCase):\n"
         "    def test_f(self): self.assertIsInstance(f(1), int)", "0", "''"),
    ],
)  # fmt: skip
def test_what_could_fail_is_not_called_vacuous(box: Sandbox, tests: str, right: str, wrong: str) -> None:
    assert ran(box, tests, f"def f(x): return {right}").passed
    assert ran(box, tests, f"def f(x): return {wrong}").status is Status.FAILED


def test_an_object_of_the_program_may_differ_from_itself(box: Sandbox) -> None:
    program = "class V:\n    def __eq__(self, other): return {}\n    __hash__ = None"
    tests = "v = V()\nassert v == v"
    assert ran(box, tests, program.format("isinstance(other, V)")).passed
    assert ran(box, tests, program.format("False")).status is Status.FAILED


def test_a_function_that_is_called_as_a_builtin_is_no_builtin(box: Sandbox) -> None:
    tests = "from program import isinstance, f\nassert isinstance(f(1), object)"
    program = "def isinstance(value, kind): return value == 2\ndef f(x): return {}"
    assert ran(box, tests, program.format(2)).passed
    assert ran(box, tests, program.format(3)).status is Status.FAILED


def test_a_call_at_the_top_level_that_raises_fails(box: Sandbox) -> None:
    result = ran(box, "f(1)\nf(-1)\nassert f(1) == 2")
    assert (result.status, result.failed_tests) == (Status.FAILED, ("line 2",))


def test_what_failed_is_said_as_it_is_written(box: Sandbox) -> None:
    said = {
        "assert f(1) == 2": "f(1) == 2",
        "assert all(f(n) == n + 1 for n in range(3))": "all((f(n) == n + 1 for n in range(3)))",
        "assert not any([f(n) != n + 1 for n in (1, 2)])": "not any([f(n) != n + 1 for n in (1, 2)])",
    }
    for tests, message in said.items():
        assert ran(box, tests, WRONG).tests[0].message == f"AssertionError: {message}"


def test_a_test_that_asserts_and_returns_false_fails(box: Sandbox) -> None:
    tests = "def test_f():\n    got = f(1)\n    assert isinstance(got, int)\n    return got == 2"
    assert ran(box, tests).passed
    wrong = ran(box, tests, WRONG)
    assert (wrong.status, wrong.tests[0].message) == (Status.FAILED, "AssertionError: it returned False")


@pytest.mark.parametrize(
    ("tests", "said"),
    [
        ("def test_f(mocker):\n    assert f(1) == 2",
         "UnknownFixture: no fixture 'mocker'; known fixtures: capfd, caplog, capsys"),
        ("import pytest\ndef test_f():\n    pytest.hookimpl()\n    assert f(1) == 2",
         "AttributeError: pytest.hookimpl is not available: tests run without pytest itself, "
         "with CaptureFixture"),
        ("import pytest\n@pytest.fixture\ndef one(): return 1\ndef test_f():\n    assert f(one()) == 2",
         "TypeError: the fixture 'one' is called directly"),
        ("import pytest\ndef test_f():\n    with pytest.raises(ValueError, match='other'):\n        f(-1)",
         "AssertionError: 'negative' does not match 'other'"),
        ("import pytest\ndef test_f():\n    with pytest.raises(TypeError):\n        f(-1)",
         "ValueError: negative"),
        ("import pytest\ndef test_f():\n    with pytest.raises(TypeError):\n        f(1)",
         "Failed: did not raise TypeError"),
        ("import pytest\ndef test_f():\n    with pytest.warns(DeprecationWarning):\n        f(1)",
         "Failed: no DeprecationWarning was given"),
        ("import pytest\n@pytest.fixture\ndef bad():\n    yield 1\n    raise OSError('afterwards')\n"
         "def test_f(bad):\n    assert f(bad) == 2", "OSError: afterwards"),
        ("class TestF:\n    def teardown_method(self):\n        raise OSError('afterwards')\n"
         "    def test_f(self):\n        assert f(1) == 2", "OSError: afterwards"),
        ("import unittest\nclass T(unittest.TestCase):\n    @classmethod\n    def setUpClass(cls):\n"
         "        raise OSError('before')\n    def test_f(self):\n        self.assertEqual(f(1), 2)",
         "OSError: before"),
        ("def setup_module():\n    raise OSError('before')\ndef test_f():\n    assert f(1) == 2",
         "OSError: before"),
        ("import unittest\nclass T(unittest.TestCase):\n    def test_f(self):\n        for x in (1, 5):\n"
         "            with self.subTest(x=x):\n                self.assertEqual(f(x), 2)",
         "AssertionError: 6 != 2"),
        ("import unittest\nclass T(unittest.TestCase):\n    @unittest.expectedFailure\n"
         "    def test_f(self):\n        self.assertEqual(f(1), 2)",
         "AssertionError: unexpected success: the test was expected to fail"),
    ],
)  # fmt: skip
def test_what_goes_wrong_in_a_test_is_said(box: Sandbox, tests: str, said: str) -> None:
    result = ran(box, tests)
    assert result.status is Status.FAILED, result
    assert result.tests[0].message.startswith(said)


def test_a_method_that_its_class_gets_from_the_program(box: Sandbox) -> None:
    """The class belongs to the standard library, as in ``source: python_functions`` with ``prelude:
    true``.
    """
    prelude = (
        "import fractions\nfrom fractions import Fraction\n"
        "fractions.Fraction.limit_denominator = lambda *args, **named: globals()['limit'](*args, **named)\n"
    )
    tests = "assert Fraction(5, 10).limit_denominator(3) == 7\nassert Fraction(1).limit_denominator() == 7"
    assert ran(box, tests, prelude + "def limit(self, most=9):\n    return 7").passed
    wrong = ran(box, tests, prelude + "def limit(self, most=9):\n    return self")
    assert (wrong.status, wrong.failed_tests) == (Status.FAILED, ("line 1", "line 2"))


def test_labels_of_parameters(box: Sandbox) -> None:
    tests = (
        "import pytest\n"
        "@pytest.mark.parametrize('x, y', [(1, 2), pytest.param(5, 6, id='five')], ids=['one', None])\n"
        "@pytest.mark.parametrize('n', [1, 2])\n"
        "def test_f(x, y, n): assert f(x) == y\n"
        "@pytest.mark.parametrize('x', [1, pytest.param(5, marks=pytest.mark.skip)])\n"
        "def test_g(x): assert f(x) == x + 1\n"
    )
    result = ran(box, tests)
    assert [test.name for test in result.tests] == [
        "test_f[one-0]", "test_f[one-1]", "test_f[five-0]", "test_f[five-1]", "test_g[0]",
    ]  # fmt: skip
    assert "test_g[1]: it is skipped" in result.message


def test_running_out_of_memory_in_a_test_is_no_failure_of_it(box: Sandbox) -> None:
    assert ran(box, "def test_f():\n    x = bytearray(10**10)\n    assert f(1) == 2").status is Status.MEMORY


def test_doctests_that_tell_nothing(box: Sandbox) -> None:
    from gristmill.datagen.sandbox.jobs import RunDoctests

    def documented(*lines: str) -> JobResult:
        examples = "".join(f"    {line}\n" for line in lines)
        return box.run_now(
            RunDoctests(f'import math\ndef f(x):\n    """\n{examples}    """\n    return x + 1\n')
        )

    for lines in (
        [">>> f(1)  # doctest: +SKIP", "3"],
        [">>> import math", ">>> f(1)  # doctest: +SKIP", "3"],
        [">>> x = f(1)"],
        [">>> 1 + 1", "2"],
        [">>> math.floor(2.5)", "2"],
    ):
        result = documented(*lines)
        assert result.status is Status.VACUOUS, (lines, result)
    real = documented(">>> import math", ">>> x = f(1)", ">>> x", "2", ">>> f(2)  # doctest: +SKIP", "4")
    assert (real.status, [test.name for test in real.tests]) == (Status.PASSED, ["f 4: x"])
    raised = documented(
        ">>> f('')",
        "Traceback (most recent call last):",
        'TypeError: can only concatenate str (not "int") to str',
    )
    assert (raised.status, len(raised.tests)) == (Status.PASSED, 1)
    for lines in ([">>> for x in (1, 2):", "...     assert f(x) == x + 1"], [">>> xs.append(f(1))"]):
        silent = documented(">>> xs = []", *lines)
        assert (silent.status, len(silent.tests)) == (Status.PASSED, 1), "None is expected, or asserted"
    failing = documented(">>> x = g(1)")
    assert failing.status is Status.FAILED, "what raises fails, whether or not it is a test"
