"""Objects that are made after the holes were filled lie side by side."""

from __future__ import annotations

import subprocess
import sys

import pytest

#: Prints how many of 100 new objects of one size lie beside the one before, in a process whose memory is full
#: of holes of it.
SIDE_BY_SIDE = """
import sys
from gristmill.datagen.sandbox import packing
held = [bytes({size} - sys.getsizeof(b"")) for _ in range(5000)]
del held[::2]
{fill}
new = [bytes({size} - sys.getsizeof(b"")) for _ in range(101)]
print(sum(id(after) - id(before) == {size} for before, after in zip(new, new[1:])))
"""


def side_by_side(size: int, fill: str) -> int:
    script = SIDE_BY_SIDE.format(size=size, fill=fill)
    return int(subprocess.check_output([sys.executable, "-P", "-c", script], text=True))


@pytest.mark.parametrize("size", [64, 96, 512])
def test_new_objects_lie_side_by_side_once_holes_are_filled(size: int) -> None:
    assert side_by_side(size, "packing.fill_holes()") > 90  # all but those in holes that filling left itself
    assert side_by_side(size, "pass") < 50
