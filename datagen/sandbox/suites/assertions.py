"""Finds the assertions of a suite, and instruments each so that it records that it ran.

An assertion tests nothing if it never runs, if its failure is swallowed, or if it cannot fail. The first is
detected at run time (a call of :data:`RAN` is put before each assertion), the others by :mod:`reaching` and
by this module.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Sequence
from functools import cached_property

from .certain import compared_with_itself
from .names import FAILURE, FUNCTIONS, RAN, walk

#: Calls that state what their block, or the function passed to them, must do.
EXPECTING = frozenset((
    "raises", "assertRaises", "assertRaisesRegex", "warns", "deprecated_call", "assertWarns",
    "assertWarnsRegex", "assertLogs", "assertNoLogs",
))  # fmt: skip
#: Exception types that catch the failure of an assertion.
_CATCHES_ALL = frozenset(("AssertionError", "Exception", "BaseException"))
_ENDING = frozenset(("fail", "exit", "_exit", "quit"))


class Assertion:
    """One assertion.

    ``asked``: the nodes that decide it. ``truth``: the truth value that ``asked`` must have if it is one
    condition; otherwise None. ``itself``: the name that it compares with itself, if any.
    """

    # Not a dataclass, whose generated methods would count as lines that the program executes.
    __slots__ = ("asked", "itself", "truth")

    def __init__(self, asked: Sequence[ast.AST], truth: bool | None = None, equality: bool = False) -> None:
        self.asked, self.truth = tuple(asked), truth
        compared: Sequence[ast.AST] = self.asked[:2] if equality else ()
        if truth and isinstance(asked[0], ast.Compare) and isinstance(asked[0].ops[0], ast.Eq):
            compared = [asked[0].left, *asked[0].comparators]
        self.itself = compared_with_itself(compared)


class Assertions:
    """The assertions of one suite, in the order in which :meth:`marked` finds them.

    ``program``: the names of the program. A call of a function that the suite or the program defines is not
    an assertion, whatever its name. The assertions inside such a function count instead.
    """

    def __init__(self, body: Sequence[ast.stmt], program: Collection[str]) -> None:
        self.found: list[Assertion] = []
        self._body, self._program = body, program

    @cached_property
    def _known(self) -> set[str]:
        nodes = (node for statement in self._body for node in walk(statement))
        return {node.name for node in nodes if isinstance(node, FUNCTIONS)} | set(self._program)

    def marked(self, statement: ast.stmt) -> list[ast.stmt]:
        """The statement, with a call of :data:`RAN` before or inside each of its assertions."""
        return self._block([statement], swallowed=False)

    def _block(self, statements: Sequence[ast.stmt], swallowed: bool) -> list[ast.stmt]:
        done: list[ast.stmt] = []
        for statement in statements:
            assertion = None if swallowed else self._assertion(statement)
            if assertion is not None:
                self.found.append(assertion)
                each = _each(statement)
                if each is None:
                    done.append(ast.copy_location(ast.Expr(self._ran(statement)), statement))
                    if isinstance(statement, (ast.Assert, ast.Expr)):
                        done.append(self._watched(statement))
                        continue
                else:
                    each.elt = ast.copy_location(
                        ast.BoolOp(ast.Or(), [self._ran(each.elt), each.elt]), each.elt
                    )
            self._inside(statement, swallowed)
            done.append(statement)
        return done

    def _inside(self, statement: ast.stmt, swallowed: bool) -> None:
        """Mark the blocks of a compound statement in place."""
        if isinstance(statement, (*FUNCTIONS, ast.ClassDef)):
            statement.body = self._block(statement.body, swallowed=False)
        elif isinstance(statement, (ast.Try, ast.TryStar)):
            caught = swallowed or swallows(statement)
            statement.body = self._block(statement.body, caught)
            for handler in statement.handlers:
                handler.body = self._block(handler.body, swallowed)
            statement.orelse = self._block(statement.orelse, swallowed)
            statement.finalbody = self._block(statement.finalbody, swallowed)
        elif isinstance(statement, (ast.With, ast.AsyncWith)):
            suppressed = any(_name(item.context_expr) == "suppress" for item in statement.items)
            statement.body = self._block(statement.body, swallowed or suppressed)
        elif isinstance(statement, ast.Match):
            for case in statement.cases:
                case.body = self._block(case.body, swallowed)
        elif isinstance(statement, (ast.If, ast.For, ast.AsyncFor, ast.While)):
            statement.body = self._block(statement.body, swallowed)
            statement.orelse = self._block(statement.orelse, swallowed)

    def _assertion(self, statement: ast.stmt) -> Assertion | None:
        """The assertion that the statement itself makes, apart from the statements in it."""
        if isinstance(statement, ast.Assert):
            return None if _false(statement.test) else Assertion((statement.test,), truth=True)
        if isinstance(statement, (ast.With, ast.AsyncWith)):
            expecting = any(_name(item.context_expr) in EXPECTING for item in statement.items)
            return Assertion(statement.body) if expecting else None
        if isinstance(statement, ast.If):
            return Assertion((statement.test,)) if fails(statement.body) or fails(statement.orelse) else None
        if isinstance(statement, (ast.Try, ast.TryStar)):
            expecting = fails(statement.orelse) or (fails(statement.body) and not swallows(statement))
            return Assertion(statement.body) if expecting else None
        if isinstance(statement, (ast.Expr, ast.Assign, ast.AnnAssign, ast.Return)):
            return self._called(statement.value)
        return None

    def _called(self, value: ast.expr | None) -> Assertion | None:
        """``self.assertEqual(a, b)``, ``np.testing.assert_allclose(a, b)``, ``pytest.raises(E, f, x)``."""
        call = value.value if isinstance(value, ast.Await) else value
        name = _name(call)
        if not isinstance(call, ast.Call) or name is None:
            return None
        if not (name in EXPECTING or name.startswith("assert")) or name in self._known:
            return None
        given = [*call.args, *(keyword.value for keyword in call.keywords)]
        if name in EXPECTING:
            return Assertion((call,)) if len(call.args) > 1 else None
        if isinstance(call.func, ast.Attribute) and _name(call.func.value) not in ("self", "cls"):
            given.append(call.func.value)  # such as assert_called_once_with(2) of a mock
        if name in ("assertTrue", "assertFalse") and given:
            return Assertion(given[:1], truth=name == "assertTrue")
        if name == "assertIsInstance":
            return Assertion((ast.Call(ast.Name("isinstance", ast.Load()), given[:2], []),), truth=True)
        return Assertion(given, equality=name == "assertEqual")

    def _watched(self, statement: ast.stmt) -> ast.stmt:
        """The statement, instrumented to record its failure, since its exception may be caught elsewhere."""
        failed = self._ran(statement)
        failed.args[1:] = [ast.Constant(True)]
        handler = ast.ExceptHandler(
            ast.Name(FAILURE, ast.Load()), None, [ast.Expr(failed), ast.Raise(None, None)]
        )
        ast.fix_missing_locations(ast.copy_location(handler, statement))
        return ast.copy_location(ast.Try([statement], [handler], [], []), statement)

    def _ran(self, place: ast.AST) -> ast.Call:
        """A call of :data:`RAN`, which returns None, for the last assertion found."""
        call = ast.Call(ast.Name(RAN, ast.Load()), [ast.Constant(len(self.found) - 1)], [])
        if (name := self.found[-1].itself) is not None:
            call.args += [ast.Constant(False), ast.Name(name.id, ast.Load())]
        ast.copy_location(call, place)
        return ast.fix_missing_locations(call)


def _each(statement: ast.stmt) -> ast.GeneratorExp | ast.ListComp | None:
    """The comprehension of ``assert all(… for …)`` or ``assert not any(… for …)``.

    Such an assertion passes if the comprehension is empty.
    """
    if not isinstance(statement, ast.Assert):
        return None
    node, name = statement.test, "all"
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        node, name = node.operand, "any"
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name):
        return None
    inner = node.args[0] if len(node.args) == 1 else None
    return inner if isinstance(inner, (ast.GeneratorExp, ast.ListComp)) else None


def fails(block: Sequence[ast.stmt]) -> bool:
    """Whether the block ends a test: ``assert False``, ``raise Exception``, ``fail()``, ``sys.exit(1)``."""
    for statement in block:
        if isinstance(statement, ast.Assert) and _false(statement.test):
            return True
        if isinstance(statement, ast.Raise) and statement.exc is not None:
            raised = statement.exc.func if isinstance(statement.exc, ast.Call) else statement.exc
            if _name(raised) in _CATCHES_ALL:
                return True
        if isinstance(statement, ast.Expr) and _name(statement.value) in _ENDING:
            return True
    return False


def swallows(statement: ast.Try | ast.TryStar) -> bool:
    """Whether a failed assertion in the block of the ``try`` is caught, and no handler reports it."""
    for handler in statement.handlers:
        types = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
        if any(each is None or _name(each) in _CATCHES_ALL for each in types):
            return not any(_speaks(node) for each in handler.body for node in walk(each))
    return False


def _speaks(node: ast.AST) -> bool:
    """Whether a node of a handler may report the exception: raise, assert, end, or store it."""
    if isinstance(node, ast.Call):
        return _name(node) != "print"
    return isinstance(node, (ast.Raise, ast.Assert, ast.Assign, ast.AugAssign))


def _name(node: ast.AST | None) -> str | None:
    """The last part of a name, of an attribute, or of a called function."""
    if isinstance(node, ast.Call):
        node = node.func
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else None


def _false(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and not node.value
