"""Mutants of a program: each differs from it in one place, parses, and has a different syntax tree."""

from __future__ import annotations

import ast
import random
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..parsers.python_source import parse_python
from .operators import ALL, TextChange
from .source_text import SourceText


@dataclass(frozen=True, slots=True)
class Mutant:
    """A program with one mistake.

    ``source``: the whole changed program. ``kind``: the mutation operator. ``line``: of the change, from 1.
    ``mistake``: a short description. ``function``: the innermost function that contains it.
    """

    source: str
    kind: str
    line: int
    mistake: str
    function: str


def mutants(
    program: str, *, most: int | None = None, seed: int = 0, kinds: Sequence[str] | None = None
) -> list[Mutant]:
    """Return mutants of the functions in ``program``; none if it does not parse.

    ``most``: the maximum number, drawn evenly over the applicable kinds; None for all, in source order.
    ``kinds``: only these (``operators.KINDS``). The same arguments give the same mutants. Annotations,
    docstrings, decorators and f-strings are not changed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # warnings of ``compile`` about a mutant
            source = SourceText(program)
            return list(_distinct(source, list(_candidates(source, kinds)), most, seed))
    except (SyntaxError, RecursionError, MemoryError):
        return []


@dataclass(frozen=True, slots=True)
class _Candidate:
    change: TextChange
    kind: str
    function: str


def _candidates(source: SourceText, kinds: Sequence[str] | None) -> Iterator[_Candidate]:
    operators = [mutation for mutation in ALL if kinds is None or mutation.kind in kinds]
    for function, name, node in _places(source.tree, None, ""):
        for mutation in operators:
            for change in mutation.changes(source, node, function):
                yield _Candidate(change, mutation.kind, name)


def _places(node: ast.AST, function: ast.AST | None, name: str) -> Iterator[tuple[ast.AST, str, ast.AST]]:
    """Yield (innermost function, its name, node) for each node of a function body, in source order."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        body = node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
        for child in body:
            yield from _places(child, node, node.name)
        return
    if isinstance(node, (ast.JoinedStr, ast.Import, ast.ImportFrom, ast.Global, ast.Nonlocal)):
        return
    if function is not None:
        yield function, name, node
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "decorator_list", "returns", "keywords") and not isinstance(
            node, ast.Call
        ):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _places(child, function, name)


def _distinct(
    source: SourceText, candidates: list[_Candidate], most: int | None, seed: int
) -> Iterator[Mutant]:
    seen = {ast.dump(source.tree)}
    found = 0
    for candidate in candidates if most is None else _spread(candidates, seed):
        if found == most:
            return
        text = source.applied(candidate.change.replacement)
        try:
            meaning = ast.dump(parse_python(text))
            compile(text, "<mutant>", "exec", dont_inherit=True)
        except (SyntaxError, ValueError):
            continue
        if meaning in seen:
            continue
        seen.add(meaning)
        found += 1
        line = source.text.count("\n", 0, candidate.change.replacement.start) + 1
        yield Mutant(text, candidate.kind, line, candidate.change.mistake, candidate.function)


def _spread(candidates: list[_Candidate], seed: int) -> Iterator[_Candidate]:
    """Shuffle with ``seed``, taking one of each kind in turn, so that no kind dominates."""
    rng = random.Random(seed)
    piles: dict[str, list[_Candidate]] = {}
    for candidate in candidates:
        piles.setdefault(candidate.kind, []).append(candidate)
    for pile in piles.values():
        rng.shuffle(pile)
    order = list(piles)
    rng.shuffle(order)
    while any(piles.values()):
        for kind in order:
            if piles[kind]:
                yield piles[kind].pop()
