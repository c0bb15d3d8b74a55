"""Apply each mutation to a copy of the tree and see that its test fails.

``python tests/mutants/run.py [ID-PREFIX...]``: those whose id begins with one of them.

The working tree is never written to. Exits with 1 where a mutation survives or an entry does not fit, and
with 130 where Ctrl-C or SIGTERM stops it, which tells what was found until then.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from copied_tree import Copy
from entries import Entry, Misfit, read_entries


def verdicts(copy: Copy, entries: list[Entry]) -> Iterator[tuple[bool, str]]:
    """Of each entry, whether it is as it must be, and a line that says so."""
    unfit: dict[str, str] = {}
    tried: set[str] = set()
    for entry in entries:
        if (file := test_file(entry)) not in tried:  # each file's tests are run once without a mutation
            tried.add(file)
            unfit |= copy.unfit([each for each in entries if test_file(each) == file])
        started = time.monotonic()
        try:
            if entry.id in unfit:
                raise Misfit(unfit[entry.id])
            killed = copy.killed(entry)
        except Misfit as misfit:
            yield False, f"DOES NOT FIT  {entry.id}: {misfit}"
            continue
        text = "killed       " if killed else "SURVIVED     "
        yield killed, f"{text} {entry.id}: {entry.test} ({time.monotonic() - started:.1f} s)"


def test_file(entry: Entry) -> str:
    return entry.test.partition("::")[0]


def main(*prefixes: str) -> int:
    everything = read_entries()
    for prefix in prefixes:
        if not any(entry.id.startswith(prefix) for entry in everything):
            print(f"no mutant's id begins with {prefix!r}", file=sys.stderr)
            return 2
    entries = [entry for entry in everything if entry.id.startswith(prefixes or "")]
    # Both stop it in the same way, in the background too, where a shell lets SIGINT be ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    run = wrong = 0
    stopped = False
    with TemporaryDirectory(prefix="mutants-") as folder:
        try:
            with closing(Copy(Path(folder))) as copy:
                for right, line in verdicts(copy, entries):
                    run += 1
                    wrong += not right
                    print(line, flush=True)
        except KeyboardInterrupt:
            stopped = True
    of = f"stopped after {run} of {len(entries)}" if stopped else f"{len(entries)}"
    print(f"{of} mutants, {wrong} of them survived or do not fit")
    return 130 if stopped else int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
