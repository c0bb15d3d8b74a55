"""A typical test harness without protection of the verdict: the control of ``forged.py``.

It loads the program and runs its tests in one process, trusts the result, accepts tests without assertions,
and counts lines by file name. It runs in the sandbox as a script.
"""

from __future__ import annotations

import ast
import asyncio
import copy
import doctest
import inspect
import json
import linecache
import math
import os
import random
import sys
import types
import unittest


class Report:
    def __init__(self):
        self.tests, self.status, self.lines = [], None, None

    def note(self, name, error):
        self.tests.append((name, error is None, "" if error is None else repr(error)))

    def summed_up(self):
        failed = [test for test in self.tests if not test[1]]
        status = self.status or ("failed" if failed else "passed")
        return {"status": status, "tests": self.tests, "lines": self.lines}


def define(source, name):
    filename = f"<{name}>"
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    module = types.ModuleType(name)
    sys.modules[name] = module
    exec(compile(source, filename, "exec", dont_inherit=True), vars(module))
    return vars(module)


def run_tests(job, report):
    space = define(job["program"], "program")
    source = job["tests"]
    linecache.cache["<tests>"] = (len(source), None, source.splitlines(keepends=True), "<tests>")
    before = dict(space)
    for statement in ast.parse(source).body:
        try:
            exec(compile(ast.Module([statement], []), "<tests>", "exec", dont_inherit=True), space)
            report.note(f"line {statement.lineno}", None)
        except unittest.SkipTest:
            return
        except BaseException as error:
            report.note(f"line {statement.lineno}", error)
    for name, value in [item for item in space.items() if before.get(item[0]) is not item[1]]:
        if inspect.isfunction(value) and name.startswith("test"):
            report.note(name, attempt(value))
        elif inspect.isclass(value) and issubclass(value, unittest.TestCase):
            for method in unittest.TestLoader().getTestCaseNames(value):
                result = unittest.TestResult()
                unittest.TestSuite([value(method)]).run(result)
                report.note(method, (result.errors + result.failures or [(None, None)])[0][1])
        elif inspect.isclass(value) and name.startswith("Test"):
            for method in [each for each in vars(value) if each.startswith("test")]:
                report.note(method, attempt(getattr(value(), method)))


def attempt(call):
    try:
        returned = call()
        if inspect.iscoroutine(returned):
            asyncio.run(returned)
    except unittest.SkipTest:
        return None
    except BaseException as error:
        return error
    return None


def run_doctests(job, report):
    define(job["program"], "program")
    failed, tried = doctest.testmod(sys.modules["program"], report=False)
    report.tests = [(f"example {number}", True, "") for number in range(tried)]
    if failed:
        report.status = "failed"


def run_reference(job, report):
    reference = define(job["tests"], "reference")["f"]
    program = define(job["program"], "program")["f"]
    for number in range(20):
        rng = random.Random(number)
        given = (rng.randint(-20, 50),)
        wanted, got = reference(*copy.deepcopy(given)), program(*copy.deepcopy(given))
        report.note(f"call {number}", None if same(wanted, got) else (given, wanted, got))


def same(one, other):
    if type(one) is float and type(other) is float:
        return math.isclose(one, other)
    if type(one).__module__ in ("program", "reference") and type(one).__name__ == type(other).__name__:
        return getattr(one, "__dict__", None) == getattr(other, "__dict__", None)
    return one == other


class LineCount:
    def __init__(self):
        self.lines = 0

    def enter(self, frame, event, argument):
        name = frame.f_code.co_filename
        return (
            self.line
            if name.startswith("<") and name != "<tests>" and not name.startswith("<frozen")
            else None
        )

    def line(self, frame, event, argument):
        self.lines += event == "line"
        return self.line


def run_cost(job, report):
    count = LineCount()
    sys.settrace(count.enter)
    run_tests(job, report)
    sys.settrace(None)
    report.lines = count.lines


def carry_out(job, channel, token):
    report = Report()
    try:
        JOBS[job["kind"]](job, report)
    except BaseException as error:
        report.note("the end", error)
    os.write(channel, b"\n" + json.dumps({**report.summed_up(), "token": token}).encode() + b"\n")
    os._exit(0)


JOBS = {"tests": run_tests, "doctests": run_doctests, "reference": run_reference, "cost": run_cost}
