"""Machine code of every Triton kernel for a Hopper GPU, which need not be present.

    python benchmarks/kernels_sass.py [--before RESULT]

Compiles each kernel for compute capability 9.0, at the shapes of a layer of an 8B Llama
(``kernels_sass_launches.py``), and reads the machine code:

- registers per thread, and instructions that move spilled registers (aim: none);
- bytes per instruction of the loads and stores of global memory (aim: 16 for each tensor that is streamed;
  what remains is scales, tables and single values);
- instructions per element: those outside of loops over the elements of a thread, and those of a loop over
  the elements of one turn. Subroutines (the slow paths of a division) are not counted.

``--before``: an earlier result to compare with; by default, what the result file has kept.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import triton
from kernels_compiled import Compiled, compile_only
from kernels_sass_launches import Launch, launches
from measuring import RESULTS, versions, write

HOPPER = 90
CUOBJDUMP = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
INSTRUCTION = re.compile(r"/\*([0-9a-f]{4,})\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_.]*)([^;]*);")
#: Bytes of a load or store by the part of its name that says so; 4 if none does.
WIDTHS = {"U8": 1, "S8": 1, "U16": 2, "S16": 2, "64": 8, "128": 16}


@dataclass(frozen=True)
class Code:
    """What the machine code of a kernel shows. ``loads``, ``stores``: instructions by their bytes."""

    kernel: str
    registers: int
    spills: int
    loads: dict[int, int]
    stores: dict[int, int]
    instructions: int
    per_element: float


@dataclass(frozen=True)
class Instruction:
    """One instruction at an ``address``, such as ``LDG.E.128``."""

    address: int
    name: str
    operands: str

    @property
    def bytes(self) -> int:
        return next((WIDTHS[part] for part in self.name.split(".") if part in WIDTHS), 4)


def read_code(compiled: Compiled, launch: Launch) -> Code:
    """Disassemble a kernel and count its instructions."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(compiled.cubin)
        file.flush()
        said = subprocess.run(
            [CUOBJDUMP, "-sass", "-res-usage", file.name], capture_output=True, text=True, check=True
        ).stdout
    registers = re.search(r"REG:(\d+)", said)
    assert registers is not None
    code = _main_part([Instruction(int(at, 16), name, rest) for at, name, rest in INSTRUCTION.findall(said)])
    return Code(
        kernel=compiled.name,
        registers=int(registers[1]),
        spills=sum(each.name.split(".")[0] in ("LDL", "STL") for each in code),
        loads=_widths(code, "LDG"),
        stores=_widths(code, "STG"),
        instructions=len(code),
        per_element=_per_element(code, compiled, launch),
    )


def _main_part(code: Sequence[Instruction]) -> list[Instruction]:
    """Leave out what follows the last exit: subroutines, and the filling of the last cache line."""
    last = max(number for number, each in enumerate(code) if each.name == "EXIT")
    return [each for each in code[: last + 1] if each.name != "NOP"]


def _widths(code: Sequence[Instruction], kind: str) -> dict[int, int]:
    found = Counter(each.bytes for each in code if each.name.split(".")[0] == kind)
    return dict(sorted(found.items(), reverse=True))


def _loops(code: Sequence[Instruction]) -> list[list[Instruction]]:
    """Return the instructions of each loop: from the target of a jump back to the jump."""
    found = []
    for each in code:
        target = re.search(r"0x([0-9a-f]+)", each.operands) if each.name == "BRA" else None
        if target is not None and int(target[1], 16) < each.address:
            found.append([one for one in code if int(target[1], 16) <= one.address <= each.address])
    return found


def _per_element(code: Sequence[Instruction], compiled: Compiled, launch: Launch) -> float:
    each = launch.elements / (compiled.programs * compiled.threads)
    loops, total = _loops(code), 0.0
    for body in loops:
        read = sum(one.bytes for one in body if one.name.startswith("LDG"))
        total += len(body) * (launch.read / read if launch.read and read else launch.turns / each)
    looped = {one.address for body in loops for one in body}
    return total + sum(one.address not in looped for one in code) / each


def read_all(only: Collection[str] = ()) -> list[tuple[str, Code]]:
    """Compile and read every launch, or those of ``only``."""
    seen: list[Compiled] = []
    compile_only(HOPPER, seen.append)
    found = []
    for launch in launches():
        if only and launch.what not in only:
            continue
        seen.clear()
        launch.run()
        found += [(launch.what, read_code(each, launch)) for each in seen]
    return found


def _shown(widths: dict[Any, int]) -> str:
    return " ".join(f"{count}x{size}" for size, count in widths.items()) or "-"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--before", type=Path, help="an earlier result to compare with")
    given = parser.parse_args(arguments)
    kept = RESULTS / "kernels_sass.json"
    before: dict[str, Any] = {}
    if given.before is not None:
        before = json.loads(given.before.read_text())["kernels"]
    elif kept.exists():
        before = json.loads(kept.read_text()).get("before", {})
    print(f"{'kernel':<28} {'registers':>9} {'spills':>6}  {'loads':<22} {'stores':<18} per element")
    rows = {}
    for what, code in read_all():
        rows[what] = asdict(code)
        for name, row in (("before", before.get(what)), (what, rows[what])):
            if row is not None:
                print(
                    f"{'  before' if name == 'before' else what:<28} {row['registers']:>9} "
                    f"{row['spills']:>6}  {_shown(row['loads']):<22} {_shown(row['stores']):<18} "
                    f"{row['per_element']:.2f}"
                )
    write("kernels_sass", [], versions("torch", "triton"), {"kernels": rows, "before": before})
    return 0


if __name__ == "__main__":
    sys.exit(main())
