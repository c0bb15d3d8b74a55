"""The special methods that one side of a judged run may call on objects of the other side."""

from __future__ import annotations

#: Methods that compare an object with a given value. Their result can be forged to satisfy any test.
COMPARING = ("__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__", "__contains__")
_BINARY = (
    "add", "sub", "mul", "matmul", "truediv", "floordiv", "mod", "divmod", "pow", "lshift", "rshift", "and",
    "xor", "or",
)  # fmt: skip
CALCULATING = frozenset(
    f"__{prefix}{name}__"
    for name in _BINARY
    for prefix in ("", "r", "i")
    if (prefix, name) != ("i", "divmod")
)
FORGEABLE = frozenset((*COMPARING, *CALCULATING))
#: Methods of built-in values that return a truth value. A program's object that imitates one could always
#: return True.
PREDICATES = frozenset(
    [name for kind in (str, bytes, float, int, tuple, set) for name in dir(kind) if name.startswith("is")]
    + ["startswith", "endswith", "all", "any", "equals", "allclose"]
)
ASKING = (
    "__bool__", "__len__", "__length_hint__", "__hash__", "__iter__", "__next__", "__reversed__",
    "__getitem__", "__setitem__", "__delitem__", "__call__", "__enter__", "__exit__", "__str__", "__repr__",
    "__format__", "__bytes__", "__int__", "__float__", "__complex__", "__index__", "__round__", "__trunc__",
    "__floor__", "__ceil__", "__neg__", "__pos__", "__abs__", "__invert__", "__fspath__", "__aiter__",
    "__anext__", "__aenter__", "__aexit__", "__await__",
)  # fmt: skip
SPECIALS = frozenset((*FORGEABLE, *ASKING))
