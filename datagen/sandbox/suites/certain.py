"""Conditions with the same truth value for any program: ``[f(1)]``, ``f(1) == 2 or f(1) != 2``, ``x is x``.

The decision uses the text only. In doubt, a condition is not certain. It ignores that a call may raise, but
allows for a call that returns NaN.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Sequence
from typing import Any

Fixed = Callable[[ast.AST], bool]
#: Operators and their negations: for any two values, exactly one of them is true.
_CONTRARY = {ast.Eq: ast.NotEq, ast.Is: ast.IsNot, ast.In: ast.NotIn}
_OPERATORS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_TEXTS = frozenset(("str", "repr", "ascii"))


def certain(node: ast.AST, wanted: bool, fixed: Fixed) -> bool:
    """Whether a condition is ``wanted`` for any program.

    ``fixed``: tells whether a node's value is the same for any program.
    """
    if isinstance(node, ast.NamedExpr):
        return certain(node.value, wanted, fixed)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return certain(node.operand, not wanted, fixed)
    if isinstance(node, ast.BoolOp):
        return _joined(node.values, isinstance(node.op, ast.Or), wanted, fixed)
    if isinstance(node, ast.IfExp):
        return all(certain(each, wanted, fixed) for each in (node.body, node.orelse))
    if isinstance(node, ast.Compare):
        return _compared(node, wanted)
    if isinstance(node, ast.Call):
        return _called(node, wanted, fixed)
    return wanted is _truth(node)


def _truth(node: ast.AST) -> bool | None:
    """The truth value of a literal; None if the text does not show it."""
    if isinstance(node, (ast.Lambda, ast.GeneratorExp)):
        return True
    if isinstance(node, (ast.Tuple, ast.List, ast.Set)):
        given = any(not isinstance(each, ast.Starred) for each in node.elts)
        return True if given else None if node.elts else False
    if isinstance(node, ast.Dict):
        return True if any(key is not None for key in node.keys) else None if node.keys else False
    if isinstance(node, ast.JoinedStr):
        return True if any(isinstance(each, ast.Constant) and each.value for each in node.values) else None
    return bool(node.value) if isinstance(node, ast.Constant) else None


def _joined(values: Sequence[ast.expr], either: bool, wanted: bool, fixed: Fixed) -> bool:
    """Whether ``or`` (``either``) or ``and`` of these values is certainly ``wanted``."""
    if wanted is not either:
        return all(certain(each, wanted, fixed) for each in values)
    return any(certain(each, wanted, fixed) for each in values) or any(
        _contrary(one, other) for number, one in enumerate(values) for other in values[:number]
    )


def _contrary(one: ast.expr, other: ast.expr) -> bool:
    """``x`` and ``not x``, ``a == b`` and ``a != b``."""
    for this, that in ((one, other), (other, one)):
        if isinstance(this, ast.UnaryOp) and isinstance(this.op, ast.Not):
            return _same(this.operand, that)
        if (
            isinstance(this, ast.Compare)
            and isinstance(that, ast.Compare)
            and len(this.ops) == len(that.ops) == 1
        ):
            sides = _same(this.left, that.left) and _same(this.comparators[0], that.comparators[0])
            if sides and _CONTRARY.get(type(this.ops[0])) is type(that.ops[0]):
                return True
    return False


def _compared(node: ast.Compare, wanted: bool) -> bool:
    """``x is x``, ``1 == 1``."""
    if len(node.ops) == 1 and (compare := _OPERATORS.get(type(node.ops[0]))) is not None:
        try:
            sides = [ast.literal_eval(each) for each in (node.left, node.comparators[0])]
            return bool(compare(*sides)) is wanted
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            pass
    if len(node.ops) != 1 or not isinstance(node.left, ast.Name) or not _same(node.left, node.comparators[0]):
        return False
    return isinstance(node.ops[0], ast.Is if wanted else ast.IsNot)


def _called(call: ast.Call, wanted: bool, fixed: Fixed) -> bool:
    """The same for a call of a builtin that no name of the tests or the program hides."""
    name = call.func.id if isinstance(call.func, ast.Name) and fixed(call.func) else None
    if name is None or call.keywords or not call.args:
        return False
    first = call.args[0]
    if name == "isinstance" and len(call.args) == 2:
        kinds = call.args[1].elts if isinstance(call.args[1], ast.Tuple) else [call.args[1]]
        return wanted and any(isinstance(each, ast.Name) and each.id == "object" for each in kinds)
    if name == "bool":
        return certain(first, wanted, fixed)
    if name in _TEXTS:
        return wanted and yes_or_no(first)
    if name in ("any", "all") and isinstance(first, (ast.List, ast.Tuple, ast.Set)):
        if any(isinstance(each, ast.Starred) for each in first.elts):
            return False
        return _joined(first.elts, name == "any", wanted, fixed)
    return False


def yes_or_no(node: ast.AST) -> bool:
    """Whether the text shows that the value of an expression is True or False."""
    if isinstance(node, ast.BoolOp):
        return all(map(yes_or_no, node.values))
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id in ("isinstance", "bool", "any", "all")
    return isinstance(node, ast.Compare) or (isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not))


def compared_with_itself(values: Sequence[ast.AST]) -> ast.Name | None:
    """The name if both values are the same name; else None.

    Its value is equal to itself, unless it is NaN or has an ``__eq__`` of its own.
    """
    if len(values) != 2 or not isinstance(values[0], ast.Name) or not _same(values[0], values[1]):
        return None
    return values[0]


def equals_itself(value: object) -> bool:
    """Whether a value is certainly equal to itself."""
    return value is None or type(value) in (int, bool, str, bytes, list, tuple, dict, set, frozenset)


def _same(one: ast.AST, other: ast.AST) -> bool:
    return ast.dump(one) == ast.dump(other)
