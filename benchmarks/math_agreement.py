"""Does ``verify: math`` decide as published pairs of answers say? Lists every disagreement.

``python benchmarks/math_agreement.py --pairs FILES... [--math test.jsonl] [--answers samples.jsonl]``

``--pairs``: test files of math-verify (``tests/*.py``: reference, answer, verdict) and of MATH
(``modeling/math_equivalence_test.py``). ``--math``: MATH's problems with ``solution`` and ``answer``: each
worked solution must pass against its answer, and each answer must not pass against those of other problems
that sympy does not find equal to it. ``--answers``: rows with ``gt`` and, one per sample, ``code`` (the
text) and ``score`` (its published verdict), as Qwen2.5-Math's evaluation writes them.
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify
from measuring import Figure, versions, write

from gristmill.contracts.outcomes import Failed
from gristmill.datagen.verify.math import VerifyMath

#: Each answer of MATH is compared with those of so many other problems.
OTHERS = 8
#: Pairs that must be decided so, whatever else is published.
LISTED = [("2x+1", "\\boxed{x+1}", False), ("5", "\\boxed{5\\pi}", False), ("5\\pi", "\\boxed{5}", False),
          ("3\\sqrt{2}", "\\boxed{3\\sqrt{2}}", True)]  # fmt: skip


class Pair(NamedTuple):
    reference: str
    answer: str
    equal: bool


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=Path, nargs="+", required=True)
    parser.add_argument("--math", type=Path)
    parser.add_argument("--answers", type=Path)
    given = parser.parse_args()
    sets = {"listed": [Pair(*each) for each in LISTED]}
    for path in given.pairs:
        sets[path.stem] = list(of_tests(path))
    if given.math:
        problems = read(given.math)
        sets["MATH: solutions"] = [Pair(row["answer"], row["solution"], True) for row in problems]
        sets["MATH: other problems"] = list(across([row["answer"] for row in problems]))
    if given.answers:
        sets["answers of a model"] = [
            Pair(row["gt"], text, bool(score))
            for row in read(given.answers)
            for text, score in zip(row["code"], row["score"], strict=True)
        ]
    figures: list[Figure] = []
    counts: dict[str, dict[str, int]] = {}
    for name, pairs in sets.items():
        started = time.perf_counter()
        verdicts = asyncio.run(decide(pairs))
        seconds = time.perf_counter() - started
        wrong = [(pair, said) for pair, said in zip(pairs, verdicts, strict=True) if said[0] != pair.equal]
        passed = sum(pair.equal is False for pair, _ in wrong)
        print(f"{name}: {len(pairs)} pairs, {len(pairs) - len(wrong)} agree, {passed} pass that should not, "
              f"{len(wrong) - passed} do not pass that should, {seconds:.1f} s")  # fmt: skip
        for pair, (said, why) in wrong:
            print(
                f"    {pair.reference[:120]!r} {'<-' if said else 'x-'} {pair.answer[-120:]!r}  {why or ''}"
            )
        peers = [by_math_verify(pair) for pair in pairs]
        theirs = sum(said == pair.equal for pair, said in zip(pairs, peers, strict=True))
        false = sum(said and not pair.equal for pair, said in zip(pairs, peers, strict=True))
        print(f"    math-verify as it is: {theirs} agree, {false} pass that should not")
        ours, theirs_share = 1 - len(wrong) / len(pairs), theirs / len(pairs)
        figures.append(
            Figure(
                f"{name}, pairs that agree",
                "share",
                ours,
                theirs_share,
                "math-verify",
                "",
                ours / theirs_share,
                "",
            )
        )
        counts[name] = {
            "pairs": len(pairs),
            "passes that should not": passed,
            "the same of math-verify": false,
        }
    write("math_agreement", figures, versions("math-verify", "sympy"), counts)


async def decide(pairs: list[Pair]) -> list[tuple[bool, str | None]]:
    apply = VerifyMath().open(None)  # type: ignore[arg-type]
    rows = [
        {"_id": str(number), "response": pair.answer, "answer": pair.reference}
        for number, pair in enumerate(pairs)
    ]
    found = []
    for start in range(0, len(rows), VerifyMath.batch_rows):
        for [outcome] in await apply(rows[start : start + VerifyMath.batch_rows]):
            if isinstance(outcome, Failed):
                found.append((False, outcome.error))
            else:
                found.append((outcome.row["passed"], outcome.row["reason"]))
    return found


def by_math_verify(pair: Pair) -> bool:
    """Return the verdict of math-verify's own extraction and comparison, with its defaults."""
    configs = (LatexExtractionConfig(boxed_match_priority=0), ExprExtractionConfig())
    reference = pair.reference if "$" in pair.reference or "box" in pair.reference else f"${pair.reference}$"
    return bool(verify(parse(reference, configs), parse(pair.answer, configs)))


def of_tests(path: Path) -> Iterator[Pair]:
    """Yield the literal pairs of a test file: of parametrized tests, or of a ``unittest`` of MATH."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.parametrize":
            names = [name.strip() for name in ast.literal_eval(node.args[0]).split(",")]
            if names[:2] != ["gold", "pred"] or set(names[2:]) & {
                "strict",
                "allow_set_relation_comp",
                "config",
            }:
                continue
            for values in literals(node.args[1]):
                yield Pair(values[0], values[1], bool(values[2]))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            told = {
                ast.unparse(each.targets[0]): ast.literal_eval(each.value)
                for each in node.body
                if isinstance(each, ast.Assign) and isinstance(each.value, ast.Constant)
            }
            if set(told) == {"test_in", "test_out"}:
                yield Pair(told["test_out"], told["test_in"], "assertTrue" in ast.unparse(node))


def literals(node: ast.expr) -> Iterator[tuple[Any, ...]]:
    assert isinstance(node, ast.List)
    for each in node.elts:
        try:
            yield ast.literal_eval(each)
        except ValueError:  # a pair that is computed, such as `math.pi`
            continue


def across(answers: list[str]) -> Iterator[Pair]:
    """Yield each answer against those of the next problems whose text differs."""
    for place, answer in enumerate(answers):
        others = {answers[(place + step) % len(answers)] for step in range(1, OTHERS + 1)} - {answer}
        for other in sorted(others):
            yield Pair(answer, f"\\boxed{{{other}}}", False)


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


if __name__ == "__main__":
    main()
