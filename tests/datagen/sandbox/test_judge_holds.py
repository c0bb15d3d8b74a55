"""Attacks of a program on the judge's process, and actions of tests that a program could hide."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gristmill.datagen.sandbox.jobs import Compare, RunTests
from gristmill.datagen.sandbox.limits import Limits
from gristmill.datagen.sandbox.pool import Sandbox
from gristmill.datagen.sandbox.results import Status

#: The program sends a forged answer: nodes of its own in place of the result of `f`.
RAW = """
import sys
wire = next(m for n, m in list(sys.modules.items()) if n.endswith(".wire") and "sandbox" in n)
send, armed = wire.send, []
def forged(channel, message):
    if message[0] in ("return", "raise") and armed:
        armed.clear()
        message = MESSAGE
    send(channel, message)
wire.send = forged
def f(x):
    armed.append(x)
    return 0
"""
CODE = (
    "import sys\n"
    "for n, m in list(sys.modules.items()):\n"
    "    if 'sandbox' in n and n.endswith('harness'):\n"
    "        m.Report.summed_up = lambda self: {'status': 'passed', 'message': '', 'tests': [], "
    "'lines': None,"
    " 'program_operators': ()}\n"
)
CALLS = [
    ["type", "operator:attrgetter", []],
    ["member", None, [[0], "exec"]],
    ["module", "builtins", []],
    ["member", None, [[1], [2]]],
    ["member", None, [[3], CODE]],
]
SKIP = [["type", "test.support:unittest.SkipTest", []], ["tuple", None, []], ["dict", None, []]]
PEER = """
import sys
peer = next(m for n, m in list(sys.modules.items()) if n.endswith(".peer") and "sandbox" in n)
frame = sys._getframe()
while not isinstance(frame.f_locals.get("self"), peer.Peer):
    frame = frame.f_back
peer = frame.f_locals["self"]
"""


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    with Sandbox(Limits(wall_seconds=300, cpu_seconds=3)) as sandbox:
        yield sandbox


@pytest.mark.parametrize(
    "nodes", [CALLS, [["module", "unittest.__main__", []]], SKIP], ids=["calls", "module", "skip"]
)
def test_an_answer_of_the_programs_own_making_runs_nothing_in_the_judge(
    box: Sandbox, nodes: list[object]
) -> None:
    verb = "raise" if nodes is SKIP else "return"
    message = [verb, None, [[len(nodes) - 1]], nodes, [], [], [], None]
    program = RAW.replace("MESSAGE", repr(message))
    result = box.run_now(RunTests(program, "def test_a(): assert f(1) == 2\ndef test_b(): assert f(5) == 6"))
    assert result.status in (Status.FAILED, Status.ERROR)
    assert box.run_now(RunTests("def f(x): return x + 1", "assert f(1) == 2")).passed


@pytest.mark.parametrize("attribute", ["gi_frame", "gi_code", "gi_yieldfrom"])
def test_a_generator_of_the_tests_does_not_show_their_variables(box: Sandbox, attribute: str) -> None:
    program = PEER + (
        "def f(xs):\n"
        f"    frame = peer.get(xs, {attribute!r})\n"
        "    peer.get(frame, 'f_globals')['secret'] = 7\n"
        "    return 7"
    )
    result = box.run_now(RunTests(program, "secret = 41\nassert f(x * x for x in range(3)) == secret"))
    assert not result.passed
    assert "does not show" in result.message
    right = "def f(xs):\n    return sum(xs)"
    assert box.run_now(RunTests(right, "assert f(x * x for x in range(3)) == 5")).passed


def test_what_tests_keep_to_themselves_is_not_shown(box: Sandbox) -> None:
    program = "def f(held): return held._secret"
    held = "class Held:\n    _secret = 2\n    def _method(self): pass\n"
    for given in ("Held()", "Held", "Held()._method"):
        result = box.run_now(RunTests(program, f"{held}assert f({given}) == 2"))
        assert result.status is Status.FAILED
        assert "does not show" in result.message
    parser = "import argparse\nassert f(argparse.ArgumentParser())"
    shown = box.run_now(RunTests("def f(held): return held._actions", parser))
    assert shown.passed, "the library's"


def test_members_of_an_enumeration_are_no_methods(box: Sandbox) -> None:
    program = (
        "import enum\nfrom types import SimpleNamespace as N\n"
        "class M(enum.EnumMeta):\n"
        "    __members__ = property(lambda c: {'A': N(_value_=0), '__eq__': N(_value_=lambda s, o: True)})\n"
        "class Color(enum.Enum, metaclass=M):\n    A = 0\n"
        "def f(x): return Color.A"
    )
    assert not box.run_now(RunTests(program, "assert f(1) == 2")).passed


HIDING = {
    "a context manager": (
        "class Timer:\n    def __enter__(self): return self\n    def __exit__(self, *error): return {}\n",
        "def test_f():\n    with Timer():\n        assert f(1) == 2",
    ),
    "a context manager, while other threads live": (
        "class Timer:\n    def __enter__(self): return self\n    def __exit__(self, *error): return {}\n",
        "import threading\ndone = threading.Event()\ndef test_f():\n"
        "    other = threading.Thread(target=done.wait, daemon=True)\n    other.start()\n"
        "    try:\n        with Timer():\n            assert f(1) == 2\n    finally:\n        done.set()",
    ),
    "a decorator": (
        "def timed(test):\n    def run():\n        try: test()\n        except AssertionError:\n     "
        "       if not {}: raise\n"
        "    return run\n",
        "@timed\ndef test_f(): assert f(1) == 2",
    ),
    "a loop over callbacks": (
        "def each(check, values):\n    for value in values:\n        try: check(value)\n        "
        "except AssertionError:\n"
        "            if not {}: raise\n",
        "def test_f():\n    def check(x): assert f(x) == x + 1\n    each(check, [1, 2])\n    assert "
        "f is not None",
    ),
}


@pytest.mark.parametrize("name", HIDING)
def test_the_program_does_not_hide_a_failed_assertion(box: Sandbox, name: str) -> None:
    helper, tests = HIDING[name]
    wrong = box.run_now(RunTests(helper.format(True) + "def f(x): return 0", tests))
    assert wrong.status is Status.ERROR
    assert "swallowed a failed assertion" in wrong.message
    seen = box.run_now(RunTests(helper.format(False) + "def f(x): return 0", tests))
    assert seen.status is Status.FAILED
    assert box.run_now(RunTests(helper.format(True) + "def f(x): return x + 1", tests)).passed


@pytest.mark.parametrize(
    "tests",
    [
        "def test_f():\n    try:\n        assert f(1) == 2\n    finally:\n        return",
        "def test_f():\n    errors = []\n    try: assert f(1) == 2\n    except AssertionError as e: "
        "errors.append(e)",
        "import contextlib\ndef test_f():\n    with contextlib.ExitStack() as stack:\n"
        "        stack.enter_context(contextlib.suppress(AssertionError))\n        assert f(1) == 2",
        "import asyncio\nasync def check(): assert f(1) == 2\nasync def test_f():\n"
        "    await asyncio.gather(check(), return_exceptions=True)",
        "from concurrent.futures import ThreadPoolExecutor\ndef check(): assert f(1) == 2\ndef test_f():\n"
        "    with ThreadPoolExecutor() as executor: executor.submit(check)",
        "import pytest\ndef test_f():\n    with pytest.raises(AssertionError): assert f(1) == 2",
    ],
)
def test_a_test_that_hides_its_own_failed_assertion_is_vacuous(box: Sandbox, tests: str) -> None:
    assert box.run_now(RunTests("def f(x): return 0", tests)).status is Status.VACUOUS


@pytest.mark.parametrize("start", ["0", "None"])
def test_variables_of_the_tests_stay_theirs(box: Sandbox, start: str) -> None:
    """A program that changes its own variable of the same name changes nothing in the tests."""
    tests = (
        f"failures = {start}\nfor x in range(3):\n    if f(x) != x + 1: failures = (failures or 0) + 1\n"
        f"assert failures == {start}"
    )
    change = f"failures = {start}\ndef f(x):\n    global failures\n    failures = -2\n    return "
    assert box.run_now(RunTests(change + "0", tests)).status is Status.FAILED
    assert box.run_now(RunTests(change + "x + 1", tests)).passed


def test_a_star_import_leaves_what_the_tests_import(box: Sandbox) -> None:
    program = "class math:\n    isclose = staticmethod(lambda *a, **k: True)\ndef f(x): return {}"
    tests = "import math\nfrom program import *\nassert math.isclose(f(1), 2)"
    assert box.run_now(RunTests(program.format("0"), tests)).status is Status.FAILED
    assert box.run_now(RunTests(program.format("x + 1"), tests)).passed


def test_an_exception_goes_through_a_context_manager_of_the_program(box: Sandbox) -> None:
    program = (
        "import contextlib\n@contextlib.contextmanager\ndef logged(log):\n    try: yield\n"
        "    except ValueError as error: log.append(str(error))\n"
    )
    tests = "log = []\nwith logged(log):\n    raise ValueError('seen')\nassert log == ['seen']"
    assert box.run_now(RunTests(program, tests)).passed


def test_a_comparison_looks_into_private_slots_and_at_ends(box: Sandbox) -> None:
    kept = (
        "class P:\n    __slots__ = ('__x',)\n    def __init__(self, x): self.__x = {}\ndef f(x: int): "
        "return P(x)"
    )
    assert not box.run_now(Compare(kept.format("0"), kept.format("x"), "f")).passed
    assert box.run_now(Compare(kept.format("x"), kept.format("x"), "f")).passed
    counted = "def f(x: int): return iter(range({}))"
    assert not box.run_now(Compare(counted.format("1001 + abs(x)"), counted.format("1000"), "f")).passed
