"""Wrong programs that try to pass: by equality, patches, frameworks, memory, files, and early exits."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gristmill.datagen.sandbox.jobs import Compare, RunTests
from gristmill.datagen.sandbox.limits import Limits
from gristmill.datagen.sandbox.pool import Sandbox
from gristmill.datagen.sandbox.results import JobResult, Status

LIMITS = Limits(wall_seconds=300, cpu_seconds=4, memory_mib=256)
#: A correct program adds one.
TESTS = """
import math
assert f(1) == 2
assert round(f(1), 2) == 2.0
assert sorted([f(3), f(2)]) == [3, 4]
assert math.isclose(f(0.5), 1.5)
assert len(str(f(9))) == 2 and abs(f(-9)) == 8 and all([f(0) == 1])
"""
UNITTEST = """
import unittest
class Case(unittest.TestCase):
    def test_f(self):
        self.assertEqual(f(1), 2)
        self.assertAlmostEqual(f(0.5), 1.5)
    def test_with_a_subtest(self):
        for x in (1, 5):
            with self.subTest(x=x):
                self.assertEqual(f(x), x + 1)
"""
RIGHT = "def f(x): return x + 1"


def answering(methods: str, base: str = "") -> str:
    """A program that returns an object with these methods, whose results would satisfy any test."""
    return f"class Y({base}):\n    {methods}\n    __hash__ = None\ndef f(x): return Y()"


#: Inspects all processes in /proc except itself.
OTHERS = """
import os, re
def look(pid):
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            a, b = (int(p, 16) for p in line.split()[0].split("-"))
            if line.split()[1].startswith("rw"):
                memory.seek(a)
                if re.search(b"isclose[(]f[(]0", memory.read(b - a)): return True
def f(x):
    for pid in set(map(str, range(1, 99))) - {str(os.getpid())}:
        try:
            if look(pid): return x + 1
        except OSError: pass
        try: found = os.listdir(f"/proc/{pid}/fd")
        except OSError: continue
        raise RuntimeError("it can be looked into")
    return 0
"""

FORGERIES = {
    "an int that equals everything": answering("__eq__ = lambda s, o: True", "int"),
    "a float that equals everything": answering(
        "__eq__ = __lt__ = __le__ = __gt__ = __ge__ = lambda s, o: True", "float"
    ),
    "a text that equals everything": answering("__eq__ = lambda s, o: True", "str"),
    "an object that equals everything": answering("__eq__ = lambda s, o: True"),
    "an object that is never unequal": answering("__ne__ = lambda s, o: False", "int"),
    "arithmetic that answers": answering(
        "__sub__ = __rsub__ = __round__ = lambda *a: 0; "
        "__eq__ = __lt__ = __contains__ = lambda *a: True; __abs__ = lambda s: s"
    ),
    "a class that says it is an int": answering(
        "__class__ = property(lambda s: int); __eq__ = lambda s, o: True"
    ),
    "unittest.mock.ANY": "from unittest.mock import ANY\ndef f(x): return ANY",
    "an equality that answers a text": answering("__eq__ = lambda s, o: 'yes'"),
    "sorted patched": "import builtins\nbuiltins.sorted = lambda *a: [3, 4]\ndef f(x): return 0",
    "every builtin patched": (
        "import builtins\nfor n in ('sorted', 'len', 'abs', 'all', 'round', 'str'): "
        "setattr(builtins, n, lambda *a, **k: 2)\ndef f(x): return 2"
    ),
    "isclose patched": "import math\nmath.isclose = lambda *a, **k: True\ndef f(x): return 2",
    "helpers that hide builtins": (
        "def round(x, n=0): return 2.0\ndef sorted(x): return [3, 4]\ndef len(x): return 2\n"
        "def abs(x): return 8\ndef all(x): return True\ndef f(x): return 2"
    ),
    "modules replaced": (
        "import sys, types\nsys.modules['math'] = types.SimpleNamespace(isclose=lambda *a: True)\n"
        "def f(x): return 2"
    ),
    "the harness's own module": (
        "import sandbox.unit_tests as u\nu._do = lambda *a: None\nu._attempt = lambda c: None\n"
        "def f(x): return 0"
    ),
    "the judge's own module": (
        "import sys\nfor name, m in list(sys.modules.items()):\n"
        "    if name.startswith('sandbox'): vars(m).clear()\ndef f(x): return 0"
    ),
    "the tests read from linecache": (
        "import linecache\ndef f(x):\n    text = str(linecache.cache.get('<tests>'))\n"
        "    return 2 if 'f(1) == 2' in text else 0"
    ),
    "the tests read from frames": (
        "import sys\ndef f(x):\n    frame, text = sys._getframe(), ''\n"
        "    while frame: text += repr(frame.f_locals); frame = frame.f_back\n"
        "    return x + 1 if 'isclose' + chr(40) + 'f' in text else 0"
    ),
    "the tests read from the collector": (
        "import gc\ndef f(x):\n"
        "    return x + 1 if any(isinstance(o, dict) and 'isclose' + chr(40) + 'f' in repr(list(o.values())) "
        "for o in gc.get_objects()) else 0"
    ),
    "the tests read from memory": (
        "import re\ndef f(x):\n"
        "    with open('/proc/self/maps') as maps, open('/proc/self/mem', 'rb', 0) as memory:\n"
        "        for line in maps:\n            a, b = (int(p, 16) for p in line.split()[0].split('-'))\n"
        "            if line.split()[1].startswith('rw'):\n                memory.seek(a)\n"
        "                if re.search(b'isclose[(]f[(]0', memory.read(b - a)): return x + 1\n    return 0"
    ),
    "the tests read from other processes": OTHERS,
    "a report of its own": (
        "import json, os\nfor n in range(3, 64):\n"
        "    try: os.write(n, json.dumps({'token': '', 'status': 'passed', 'message': '', "
        "'tests': [['a', True, '']], 'lines': None}).encode())\n    except OSError: pass\ndef f(x): return 0"
    ),
    "an answer that is no message": (
        "import os, socket\ndef f(x):\n    socket.socket(fileno=os.dup(3)).sendall(b'\\0\\0\\0\\2[]')\n"
        "    return 0"
    ),
    "a message longer than there may be": (
        "import os, socket\ndef f(x):\n    socket.socket(fileno=os.dup(3)).sendall(b'\\xff\\xff\\xff\\xff')\n"
        "    return 0"
    ),
    "exit": "import os\ndef f(x): os._exit(0)",
    "exit at once": "import os\nos._exit(0)",
    "SystemExit": "def f(x): raise SystemExit(0)",
    "a child that comes home":
        "import os\ndef f(x):\n    if os.fork() == 0: return x + 1\n    os.wait(); os._exit(0)",
    "a thread that exits": (
        "import os, threading, time\nthreading.Timer(0.05, lambda: os._exit(0)).start()\n"
        "def f(x): time.sleep(5)"
    ),
    "all that it may is killed": "import os\ndef f(x): os.kill(-1, 9)",
    "the judge is killed": (
        "import os\ndef f(x):\n    for pid in range(1, 64):\n        if pid != os.getpid():\n"
        "            try: os.kill(pid, 9)\n            except OSError: pass\n    return 0"
    ),
    "the judge is interrupted": (
        "import os, signal\ndef f(x):\n    for pid in range(1, 64):\n        if pid != os.getpid():\n"
        "            try: os.kill(pid, signal.SIGINT)\n            except OSError: pass\n    return 0"
    ),
    "SkipTest": "import unittest\ndef f(x): raise unittest.SkipTest('later')",
    "SkipTest by another name": "import unittest\nclass S(unittest.SkipTest): pass\ndef f(x): raise S",
    "TestCase.run patched":
        "import unittest\nunittest.TestCase.run = lambda self, result=None: result\ndef f(x): return 0",
    "assertEqual patched": (
        "import unittest\nfor n in dir(unittest.TestCase):\n"
        "    if n.startswith('assert'): setattr(unittest.TestCase, n, lambda *a, **k: None)\n"
        "def f(x): return 0"
    ),
    "failures that are skips":
        "import unittest\nunittest.TestCase.failureException = unittest.SkipTest\ndef f(x): return 0",
    "a fake pytest": (
        "import sys, types\nsys.modules['pytest'] = sys.modules['unittest'] = "
        "types.SimpleNamespace(TestCase=object)\ndef f(x): return 0"
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    with Sandbox(LIMITS) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def shared() -> Iterator[Sandbox]:
    """A sandbox without the protection: tests and program share a process."""
    with Sandbox(LIMITS, shared_process=True) as sandbox:
        yield sandbox


def test_the_judge_cannot_be_looked_into(box: Sandbox) -> None:
    result = box.run_now(RunTests(OTHERS, "import math\nassert math.isclose(f(0.5), 0)"))
    assert result.passed, result


def not_passed(result: JobResult) -> None:
    assert result.status in (Status.FAILED, Status.ERROR, Status.KILLED, Status.TIMEOUT), result


@pytest.mark.parametrize("name", FORGERIES)
def test_a_wrong_program_does_not_pass(box: Sandbox, name: str) -> None:
    not_passed(box.run_now(RunTests(FORGERIES[name], TESTS)))
    not_passed(box.run_now(RunTests(FORGERIES[name], UNITTEST)))


def test_the_same_tests_pass_where_the_program_is_right(box: Sandbox) -> None:
    assert box.run_now(RunTests(RIGHT, TESTS)).passed
    assert box.run_now(RunTests(RIGHT, UNITTEST)).passed


@pytest.mark.parametrize(
    ("name", "tests"),
    [
        ("an int that equals everything", "assert f(1) == 2"),
        ("unittest.mock.ANY", "assert f(1) == 2"),
        ("isclose patched", "import math\nassert math.isclose(f(0.5), 1.5)"),
        ("helpers that hide builtins", TESTS.replace("assert math.isclose(f(0.5), 1.5)", "")
            .replace("all([f(0) == 1])", "True")),
        ("assertEqual patched", UNITTEST),
        ("the tests read from frames", "import math\nassert f(1) == 2\nassert math.isclose(f(0.5), 1.5)"),
    ],
)  # fmt: skip
def test_the_tricks_work_where_tests_and_program_share_a_process(
    shared: Sandbox, name: str, tests: str
) -> None:
    assert shared.run_now(RunTests(FORGERIES[name], tests)).passed


@pytest.mark.parametrize(
    "body",
    ["import reference\n    return reference.f(x)", "import sys\n    return sys.modules['reference'].f(x)",
     "import gc\n    return next(o for o in gc.get_objects() if getattr(o, '__name__', '') == 'f' "
     "and o is not f)(x)"],
)  # fmt: skip
def test_the_reference_is_nowhere_to_be_found(box: Sandbox, body: str) -> None:
    reference = "def f(x: int) -> int:\n    return x * 7 + 1"
    not_passed(box.run_now(Compare(f"def f(x):\n    {body}", reference, "f")))
    assert box.run_now(Compare(reference.replace(": int", ""), reference, "f")).passed


@pytest.mark.parametrize(
    ("method", "tests"),
    [
        ("__lt__ = __gt__ = lambda s, o: True", "assert 1 < f(1) < 3"),
        ("__contains__ = lambda s, o: True", "assert 2 in f(1)"),
        ("__rsub__ = __sub__ = lambda s, o: 0", "assert abs(f(1) - 2) < 1e-9"),
        ("__mod__ = lambda s, o: 0", "assert f(1) % 2 == 0"),
        ("startswith = lambda s, o: True", "assert f(1).startswith('two')"),
        ("isdigit = lambda s: True", "assert f(1).isdigit()"),
        ("__eq__ = lambda s, o: True", "assert f(1) in [2, 3]"),
        ("__eq__ = lambda s, o: True", "assert [f(1)] == [2] and {'k': f(1)} == {'k': 2}"),
    ],
)
def test_an_object_that_answers_what_the_tests_ask_is_no_verdict(
    box: Sandbox, method: str, tests: str
) -> None:
    result = box.run_now(RunTests(answering(method), tests))
    assert result.status is Status.ERROR
    assert "they would have to trust the program's own operator" in result.message


@pytest.mark.parametrize(
    ("method", "tests"),
    [
        ("__eq__ = lambda s, o: True", "assert Y() == 2"),
        ("__ne__ = lambda s, o: False", "assert not Y() != 'two'"),
        ("__contains__ = lambda s, o: True", "assert [2] in Y()"),
        ("__eq__ = lambda s, o: True", "assert Y() == Y()"),
    ],
)
def test_an_equality_that_holds_for_anything_is_not_believed(box: Sandbox, method: str, tests: str) -> None:
    result = box.run_now(RunTests(answering(method), tests))
    assert result.status is Status.ERROR
    assert "whatever it is asked about" in result.message


def test_what_tests_give_to_the_program_shows_nothing_of_them(box: Sandbox) -> None:
    """The program may call them and read public attributes, but not their code, globals or ``__self__``."""
    program = """
def spy(g):
    found = []
    for name in (
        "__globals__", "__code__", "__closure__", "__self__", "__func__", "__builtins__",
        "_secret", "__dict__",
    ):
        try:
            found.append(repr(getattr(g, name)))
        except AttributeError:
            pass
    return "answer-42" in "".join(found)
def change(mock):
    mock.assert_called_once_with = lambda *a: None
"""
    tests = """
from unittest.mock import Mock
ANSWER = "answer-42"
class Holder:
    _secret = ANSWER
    def method(self): return ANSWER
assert spy(lambda: ANSWER) is False
assert spy(Holder().method) is False
assert spy(Holder()) is False
mock = Mock()
try:
    change(mock)
except AttributeError:
    pass
try:
    mock.assert_called_once_with(1)
    raise SystemError
except AssertionError:
    pass
"""
    result = box.run_now(RunTests(program, tests))
    assert result.passed, result


def test_a_skip_that_a_callback_raises_does_not_come_back_as_one(box: Sandbox) -> None:
    tests = """
import unittest
class Case(unittest.TestCase):
    def test_it(self):
        def callback(): self.skipTest("no")
        call(callback)
        self.assertEqual(1, 2)
"""
    not_passed(box.run_now(RunTests("def call(g): return g()", tests)))


@pytest.mark.parametrize("name", ["SkipTest", "SkipTest by another name"])
def test_a_skip_of_the_program_is_a_failure_of_the_test(box: Sandbox, name: str) -> None:
    result = box.run_now(RunTests(FORGERIES[name], UNITTEST))
    assert (result.status, len(result.failed_tests)) == (Status.FAILED, 2), result


def test_a_loop_of_the_tests_is_not_ended_by_what_the_program_raises(box: Sandbox) -> None:
    program = (
        "class Adder:\n    def add(self, x): raise StopIteration\ndef f(x): return Adder()\ndef g(x): "
        "raise StopIteration"
    )
    not_passed(
        box.run_now(RunTests(program, "assert not any(map(lambda n: f(n).add(n) != n + 1, range(9)))"))
    )
    not_passed(box.run_now(RunTests(program, "assert list(map(g, range(3))) == []")))
    meant = "try:\n    g(1)\n    assert False\nexcept StopIteration:\n    pass"
    assert box.run_now(RunTests(program, meant)).passed
