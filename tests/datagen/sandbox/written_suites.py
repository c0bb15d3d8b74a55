"""Suites as models write them: each passes on a right program and fails on a wrong one.

The program's ``f`` adds one, raises ValueError("negative") below zero; it prints where asked to, and writes files.
"""

from __future__ import annotations

PROGRAM = """
import asyncio, logging, warnings
LIMIT = 10
class Full(Exception): pass
class Box:
    def __init__(self): self.held = []
    def put(self, x):
        if len(self.held) >= LIMIT: raise Full("full")
        self.held.append(f(x))
        return len(self.held)
def f(x):
    if x < 0: raise ValueError("negative")
    return x + 1
def say(x): print("got", f(x))
def write(path, x):
    with open(path, "w") as file: file.write(str(f(x)))
def fill(xs): xs.append(f(len(xs)))
def many(n):
    for x in range(n): yield f(x)
async def later(x):
    await asyncio.sleep(0)
    return f(x)
def warn(x): warnings.warn(f"old {f(x)}", DeprecationWarning)
def log(x): logging.getLogger("mine").warning("saw %s", f(x))
def apply(then, x): return then(f(x))
"""
#: The same, but for one that adds two, and raises nothing.
WRONG = PROGRAM.replace("return x + 1", "return x + 2").replace('raise ValueError("negative")', "pass")

SUITES = {
    "asserts": "assert f(1) == 2\nassert f(5) == 6",
    "a loop": "for x, y in [(1, 2), (5, 6)]:\n    assert f(x) == y",
    "a table": "CASES = {1: 2, 5: 6}\ndef test_f():\n    for x, y in CASES.items():\n        assert f(x) == y",
    "a result at the top level": "got = f(1)\nwanted = 2\ndef test_f():\n    assert got == wanted",
    "a result in a list": "seen = []\nfill(seen)\nassert seen == [1]",
    "a helper": "def check(candidate):\n    assert candidate(1) == 2\n    assert True, 'never'\ncheck(f)",
    "a helper with its own message": "def check(x, y):\n    got = f(x)\n    if got != y:\n        raise AssertionError(f'{got} for {y}')\ncheck(1, 2)",
    "a helper that a loop calls": "def test_one(x, y):\n    assert f(x) == y\nfor x, y in [(1, 2), (5, 6)]:\n    test_one(x, y)",
    "raises by hand": "def test_f():\n    if f(1) != 2:\n        raise Exception('wrong')",
    "exits": "import sys\nif f(1) != 2:\n    sys.exit('wrong')",
    "expects an exception by hand": "def test_f():\n    try:\n        f(-1)\n        assert False, 'no error'\n    except ValueError:\n        pass",
    "expects it in an else": "def test_f():\n    try:\n        f(-1)\n    except ValueError as error:\n        assert str(error) == 'negative'\n    else:\n        raise AssertionError('no error')",
    "remembers an exception": "def test_f():\n    raised = False\n    try:\n        f(-1)\n    except Exception:\n        raised = True\n    assert raised",
    "counts failures": "failed = 0\nfor x in (1, 5):\n    try:\n        assert f(x) == x + 1\n    except AssertionError:\n        failed += 1\nassert failed == 0",
    "a main": "def test_f():\n    assert f(1) == 2\nif __name__ == '__main__':\n    test_f()\n    print('all passed')",
    "unittest.main": "import unittest\nclass T(unittest.TestCase):\n    def test_f(self):\n        self.assertEqual(f(1), 2)\nunittest.main()",
    "imported from the program": "from program import f as g\nimport program\ndef test_f():\n    assert g(1) == 2\n    assert program.f(5) == 6",
    "a constant of the program": "assert LIMIT == 10 and f(1) == 2",
    "an object": "box = Box()\nassert box.put(1) == 1\nassert box.held == [2]",
    "an exception of the program": "import pytest\ndef test_full():\n    box = Box()\n    for x in range(10):\n        box.put(x)\n    assert box.held[0] == 1\n    with pytest.raises(Full):\n        box.put(1)",
    "a generator of the program": "assert list(many(3)) == [1, 2, 3]",
    "a coroutine": "async def test_later():\n    assert await later(1) == 2",
    "a coroutine by hand": "import asyncio\ndef test_later():\n    assert asyncio.run(later(1)) == 2",
    "an asynchronous mark": "import pytest\n@pytest.mark.asyncio\nasync def test_later():\n    assert await later(1) == 2",
    "a file": "import os\ndef test_write():\n    write('out.txt', 1)\n    assert os.path.exists('out.txt')\n    assert open('out.txt').read() == '2'",
    "a file at the top level": "write('out.txt', 1)\nassert open('out.txt').read() == '2'",
    "what it prints": "import io, contextlib\ndef test_say():\n    out = io.StringIO()\n    with contextlib.redirect_stdout(out):\n        say(1)\n    assert out.getvalue() == 'got 2\\n'",
    "what it prints, by hand": "import io, sys\ndef test_say():\n    old, sys.stdout = sys.stdout, io.StringIO()\n    try:\n        say(1)\n        text = sys.stdout.getvalue()\n    finally:\n        sys.stdout = old\n    assert text == 'got 2\\n'",
    "a mock": "from unittest.mock import MagicMock\ndef test_apply():\n    then = MagicMock()\n    apply(then, 1)\n    then.assert_called_once_with(2)",
    "a patched function": "from unittest.mock import patch\n@patch('program.f', return_value=7)\ndef test_say(fake, capsys):\n    say(1)\n    assert capsys.readouterr().out == 'got 7\\n'\n\ndef test_f():\n    assert f(1) == 2",
    "a pair in a message": "def test_f():\n    assert f(1) == 2, (f(1), 2)",
    "a class": "class TestF:\n    def test_one(self):\n        assert f(1) == 2\n    def test_five(self):\n        assert f(5) == 6",
    "static and class methods": "class TestF:\n    @staticmethod\n    def test_one():\n        assert f(1) == 2\n    @classmethod\n    def test_five(cls):\n        assert f(5) == 6",
    "setup_method": "class TestBox:\n    def setup_method(self, method):\n        self.box = Box()\n    def teardown_method(self):\n        assert self.box.held\n    def test_one(self):\n        self.box.put(1)\n        assert self.box.held == [2]\n    def test_two(self):\n        self.box.put(5)\n        assert self.box.held == [6]",
    "setup_class": "class TestBox:\n    @classmethod\n    def setup_class(cls):\n        cls.box = Box()\n    def test_one(self):\n        self.box.put(1)\n        assert self.box.held == [2]\n    def test_two(self):\n        assert len(self.box.held) == 1",
    "setup_module": "made = {}\ndef setup_module(module):\n    made['box'] = Box()\n    made['box'].put(1)\ndef teardown_module():\n    made.clear()\ndef test_box():\n    assert made['box'].held == [2]",
    "setup_function": "state = []\ndef setup_function():\n    state[:] = [f(1)]\ndef test_state():\n    assert state == [2]",
    "inherited tests": "class Base:\n    x, y = 1, 2\n    def test_f(self):\n        assert f(self.x) == self.y\nclass TestOne(Base):\n    pass\nclass TestFive(Base):\n    x, y = 5, 6",
    "inherited cases": "import unittest\nclass Base:\n    def test_f(self):\n        self.assertEqual(f(self.x), self.x + 1)\nclass TestOne(Base, unittest.TestCase):\n    x = 1",
    "nested classes": "class TestOuter:\n    class TestInner:\n        def test_f(self):\n            assert f(1) == 2",
    "a fixture": "import pytest\n@pytest.fixture\ndef box():\n    return Box()\ndef test_put(box):\n    box.put(1)\n    assert box.held == [2]",
    "a fixture that ends": "import pytest\nended = []\n@pytest.fixture\ndef box():\n    box = Box()\n    yield box\n    ended.append(box.held)\ndef test_put(box):\n    box.put(1)\n    assert box.held == [2]\ndef test_ended():\n    assert ended == [[2]]",
    "fixtures of fixtures": "import pytest\n@pytest.fixture(scope='module')\ndef box():\n    return Box()\n@pytest.fixture()\ndef full(box):\n    box.put(1)\n    return box\ndef test_one(full):\n    assert full.held == [2]\ndef test_two(full, box):\n    assert full is box and len(box.held) == 2",
    "a fixture for all": "import pytest\nstate = []\n@pytest.fixture(autouse=True)\ndef fresh():\n    state[:] = [f(1)]\n    yield\n    state.clear()\ndef test_state():\n    assert state == [2]",
    "a fixture of a class": "import pytest\nclass TestBox:\n    @pytest.fixture(autouse=True)\n    def made(self):\n        self.box = Box()\n    @pytest.fixture\n    def one(self):\n        return 1\n    def test_put(self, one):\n        self.box.put(one)\n        assert self.box.held == [2]",
    "a parametrized fixture": "import pytest\n@pytest.fixture(params=[1, 5])\ndef x(request):\n    return request.param\ndef test_f(x):\n    assert f(x) == x + 1",
    "usefixtures": "import pytest\nstate = []\n@pytest.fixture\ndef filled():\n    state[:] = [f(1)]\n@pytest.mark.usefixtures('filled')\ndef test_state():\n    assert state == [2]",
    "tmp_path": "def test_write(tmp_path):\n    write(tmp_path / 'out.txt', 1)\n    assert (tmp_path / 'out.txt').read_text() == '2'",
    "capsys": "def test_say(capsys):\n    say(1)\n    assert capsys.readouterr().out == 'got 2\\n'\n    assert capsys.readouterr().out == ''",
    "capsys by its type": "import pytest\ndef test_say(capsys: pytest.CaptureFixture[str]) -> None:\n    say(1)\n    out, err = capsys.readouterr()\n    assert out == 'got 2\\n' and err == ''",
    "monkeypatch": "import program\ndef test_limit(monkeypatch):\n    monkeypatch.setattr(program, 'LIMIT', 1)\n    box = Box()\n    assert box.put(1) == 1 and box.held == [2]\n    try:\n        box.put(1)\n        assert False\n    except Full:\n        pass\ndef test_afterwards():\n    assert program.LIMIT == 10 and f(1) == 2",
    "caplog": "def test_log(caplog):\n    log(1)\n    assert 'saw 2' in caplog.text and caplog.messages == ['saw 2']",
    "parametrize": "import pytest\n@pytest.mark.parametrize('x, y', [(1, 2), (5, 6)])\ndef test_f(x, y):\n    assert f(x) == y",
    "parametrize with names": "import pytest\n@pytest.mark.parametrize(('x', 'y'), [(1, 2), pytest.param(5, 6, id='five')], ids=['one', None])\ndef test_f(x, y):\n    assert f(x) == y",
    "parametrize a class": "import pytest\n@pytest.mark.parametrize('x', [1, 5])\nclass TestF:\n    def test_f(self, x):\n        assert f(x) == x + 1\n    def test_box(self, x):\n        box = Box()\n        box.put(x)\n        assert box.held == [x + 1]",
    "parametrize a fixture": "import pytest\n@pytest.fixture\ndef box(request):\n    box = Box()\n    box.put(request.param)\n    return box\n@pytest.mark.parametrize('box, y', [(1, 2), (5, 6)], indirect=['box'])\ndef test_box(box, y):\n    assert box.held == [y]",
    "two parametrize marks": "import pytest\n@pytest.mark.parametrize('x', [1, 5])\n@pytest.mark.parametrize('n', [1, 2])\ndef test_f(x, n):\n    assert f(x) * n == (x + 1) * n",
    "a skipped one beside others": "import pytest, sys\n@pytest.mark.skipif(sys.version_info < (3,), reason='old')\ndef test_f():\n    assert f(1) == 2\n@pytest.mark.skip\ndef test_not_here():\n    assert f(1) == 3",
    "approx": "import pytest\ndef test_f():\n    assert f(1.1) == pytest.approx(2.1)\n    assert [f(0.1), f(0.2)] == pytest.approx([1.1, 1.2])\n    assert {'a': f(0.3)} == pytest.approx({'a': 1.3}, rel=1e-3)\n    assert f(1) != pytest.approx(2.1)",
    "raises": "import pytest\ndef test_f():\n    with pytest.raises(ValueError, match='neg'):\n        f(-1)",
    "raises with a look": "import pytest\ndef test_f():\n    with pytest.raises((TypeError, ValueError)) as info:\n        f(-1)\n    assert str(info.value) == 'negative' and info.type is ValueError",
    "raises with a function": "import pytest\ndef test_f():\n    pytest.raises(ValueError, f, -1)",
    "warns": "import pytest\ndef test_warn():\n    with pytest.warns(DeprecationWarning, match='old 2'):\n        warn(1)",
    "fail": "import pytest\ndef test_f():\n    if f(1) != 2:\n        pytest.fail('wrong')",
    "a case": "import unittest\nclass T(unittest.TestCase):\n    def setUp(self):\n        self.box = Box()\n    def tearDown(self):\n        self.box = None\n    def test_put(self):\n        self.box.put(1)\n        self.assertEqual(self.box.held, [2])\n    def test_negative(self):\n        with self.assertRaises(ValueError):\n            f(-1)",
    "setUpClass": "import unittest\nclass T(unittest.TestCase):\n    @classmethod\n    def setUpClass(cls):\n        cls.got = f(1)\n    def test_f(self):\n        self.assertEqual(self.got, 2)\n    @classmethod\n    def tearDownClass(cls):\n        del cls.got",
    "setUpModule": "import unittest\ngot = []\ndef setUpModule():\n    got.append(f(1))\nclass T(unittest.TestCase):\n    def test_f(self):\n        self.assertEqual(got, [2])",
    "subTest": "import unittest\nclass T(unittest.TestCase):\n    def test_f(self):\n        for x in (1, 5):\n            with self.subTest(x=x):\n                self.assertEqual(f(x), x + 1)",
    "an asynchronous case": "import unittest\nclass T(unittest.IsolatedAsyncioTestCase):\n    async def asyncSetUp(self):\n        self.x = 1\n    async def test_later(self):\n        self.assertEqual(await later(self.x), 2)",
    "assertRaises with a function": "import unittest\nclass T(unittest.TestCase):\n    def test_f(self):\n        self.assertRaises(ValueError, f, -1)",
    "assertTrue": "import unittest\nclass T(unittest.TestCase):\n    def test_f(self):\n        self.assertTrue(f(1) == 2)",
    "a helper of a case": "import unittest\nclass T(unittest.TestCase):\n    def check(self, x, y):\n        self.assertEqual(f(x), y)\n    def test_f(self):\n        self.check(1, 2)",
    "an assertion of its own": "import unittest\nclass T(unittest.TestCase):\n    def assertAdds(self, x):\n        self.assertEqual(f(x), x + 1)\n    def test_f(self):\n        self.assertAdds(1)",
    "doctests in a string": "import doctest\ndef test_examples():\n    examples = '>>> f(1)\\n2\\n'\n    test = doctest.DocTestParser().get_doctest(examples, dict(globals()), 'f', None, 0)\n    result = doctest.DocTestRunner(verbose=False).run(test, out=lambda text: None)\n    assert result.failed == 0",
    "an expression as text": "CASES = [('f(1)', 2), ('f(5)', 6)]\ndef test_all():\n    for expression, wanted in CASES:\n        assert eval(expression) == wanted",
    "the program by another name": "g = f\nassert g(1) == 2",
    "a wrapper of the program's name": "old = f\ndef f(x):\n    return old(x)\nassert f(1) == 2",
    "a lambda": "adds = lambda x: f(x) == x + 1\nassert adds(1)",
    "all and any": "assert all(f(n) == n + 1 for n in range(5))\nassert not any(f(n) == n for n in range(5))",
    "a match": "match f(1):\n    case 2:\n        got = 'right'\n    case _:\n        got = 'wrong'\nassert got == 'right'",
    "a walrus": "assert (got := f(1)) == 2 and got == 2",
    "a warning beside": "import warnings\nwith warnings.catch_warnings():\n    warnings.simplefilter('ignore')\n    assert f(1) == 2",
    "a class of test data": "class TestData:\n    CASES = [(1, 2), (5, 6)]\ndef test_f():\n    for x, y in TestData.CASES:\n        assert f(x) == y",
    "returns after asserting": "def test_f():\n    assert f(1) == 2\n    return True",
}  # fmt: skip
