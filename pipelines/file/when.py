"""The condition of a loop: ``verdict.gain.ci_low > 0 and retention.loss < 2.5``.

Comparisons, ``and``, ``or``, ``not``, parentheses, numbers, ``true``/``false`` and dotted names of
metrics (``STEP.metric.part``). Nothing else is accepted, so that a condition cannot run code.
"""

from __future__ import annotations

import ast
import operator
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ...contracts.errors import GristmillError
from ...contracts.nearest import suggestion

MAX_LENGTH = 2000

_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}


class WhenError(GristmillError):
    """A condition that cannot be parsed, or that names an unknown metric."""

    exit_code = 2


@dataclass(frozen=True)
class Condition:
    """A parsed condition. ``names``: the dotted names of the metrics it uses."""

    text: str
    names: tuple[str, ...]
    _body: ast.expr

    def evaluate(self, metrics: Mapping[str, Any]) -> bool:
        """Does the condition hold for ``metrics`` (step -> its metrics, nested)?

        A comparison with a metric that is None or NaN is false. Raises WhenError if a metric is
        missing or is not a number.
        """
        return bool(_value(self._body, metrics, self.text))


def parse(text: str) -> Condition:
    """Parse a condition. Raises WhenError, which says what is wrong."""
    if len(text) > MAX_LENGTH:
        raise WhenError(f"the condition is longer than {MAX_LENGTH} characters")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's advice on "1or 2" does not help here
            body = ast.parse(text.strip(), mode="eval").body
        names: list[str] = []
        _check(body, names)
    except SyntaxError as error:
        fix = "name the step of one turn, without _*" if "_*" in text else f"write it as in {_EXAMPLE}"
        raise WhenError(f"cannot be read at {(error.text or text).strip()!r}: {fix}") from None
    except (ValueError, RecursionError, MemoryError):
        raise WhenError(f"cannot be read: write it as in {_EXAMPLE}") from None
    return Condition(text, tuple(dict.fromkeys(names)), body)


_EXAMPLE = "'verdict.gain.ci_low > 0 and verdict.score >= 0.3'"


def _check(node: ast.expr, names: list[str]) -> None:
    match node:
        case ast.BoolOp(values=values):
            for value in values:
                _check(value, names)
        case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.UAdd(), operand=operand):
            _check(operand, names)
        case ast.Compare(left=left, ops=ops, comparators=comparators):
            for op in ops:
                if type(op) not in _COMPARE:
                    raise WhenError("only <, <=, >, >=, == and != compare metrics")
            for value in (left, *comparators):
                _check(value, names)
        case ast.Constant(value=value) if isinstance(value, (bool, int, float)):
            return
        case ast.Name(id="true" | "false"):
            return
        case ast.Name() | ast.Attribute():
            names.append(_dotted(node))
        case _:
            dash = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub)
            fix = "write a dash in the name of a step as _" if dash else f"write it as in {_EXAMPLE}"
            raise WhenError(f"{ast.unparse(node)!r} is not allowed in a condition: {fix}")


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    raise WhenError(f"{ast.unparse(node)!r} is not the name of a metric")


def _value(node: ast.expr, metrics: Mapping[str, Any], text: str) -> Any:
    match node:
        case ast.BoolOp(op=ast.And(), values=values):
            return all(_value(value, metrics, text) for value in values)
        case ast.BoolOp(values=values):
            return any(_value(value, metrics, text) for value in values)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not _value(operand, metrics, text)
        case ast.UnaryOp(op=sign, operand=operand):
            value = _value(operand, metrics, text)
            return None if value is None else -value if isinstance(sign, ast.USub) else value
        case ast.Compare(left=left, ops=ops, comparators=comparators):
            values = [_value(part, metrics, text) for part in (left, *comparators)]
            return all(
                a is not None and b is not None and _COMPARE[type(op)](a, b)
                for op, a, b in zip(ops, values, values[1:])
            )
        case ast.Constant(value=value):
            return value
        case ast.Name(id="true"):
            return True
        case ast.Name(id="false"):
            return False
        case _:
            return _metric(_dotted(node), metrics, text)


def _metric(name: str, metrics: Mapping[str, Any], text: str) -> float | None:
    """A metric's value; None for NaN. Dashes in step names are underscores in a condition."""
    here: Any = metrics
    so_far: list[str] = []
    for part in name.split("."):
        so_far.append(part)
        if not isinstance(here, Mapping):
            raise WhenError(f"in {text!r}: {'.'.join(so_far[:-1])} is a number, so it has no {part!r}")
        keys = {str(key).replace("-", "_"): key for key in here}
        if part not in keys:
            raise WhenError(f"in {text!r}: no metric {'.'.join(so_far)}: {suggestion(part, keys)}")
        here = here[keys[part]]
    if here is None or isinstance(here, (bool, int, float)):
        return here if here == here else None
    raise WhenError(f"in {text!r}: {name} is not a number: found {type(here).__name__}")
