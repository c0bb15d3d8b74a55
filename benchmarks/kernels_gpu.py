"""Kernels against the roofline of the GPU and against peer libraries.

    python benchmarks/kernels_gpu.py [--quick]

The roof of a kernel is the minimum time for its bytes and FLOP (``cost`` in its file), by the copy bandwidth
and matmul rate measured first, and by the datasheet if the device is known. Peers, if installed: Liger,
bitsandbytes, torch.compile of the plain form. Medians over about 100 ms of runs each, with the L2 cache
cleared between runs. The shapes are those of an 8B Llama. Without a CUDA GPU nothing is measured; the exit
status is 2.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from typing import Any

import torch
from kernels_gpu_cases import Case, Run, Shapes, cases
from measuring import Figure, versions, write

#: Bytes/s and dense bf16 FLOP/s by a part of the device's name, from NVIDIA's datasheets.
DATASHEETS = {
    "H200": (4.8e12, 989e12),
    "H100 80GB HBM3": (3.35e12, 989e12),
    "H100 PCIe": (2.0e12, 756e12),
    "A100-SXM4-80GB": (2.039e12, 312e12),
    "A100-SXM4-40GB": (1.555e12, 312e12),
}


def seconds(run: Run, quick: bool = False) -> float:
    """Return the median time of a run on the GPU, or of a single run on a CPU as a smoke test."""
    if torch.cuda.is_available():
        from triton.testing import do_bench

        found: float = do_bench(run, rep=20 if quick else 100, return_mode="median") / 1e3
        return found
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def roofs(device: torch.device, copied: int = 1 << 30, side: int = 8192) -> tuple[float, float]:
    """Measure bytes/s of a copy and FLOP/s of a bfloat16 matmul."""
    source = torch.empty(copied, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    square = torch.randn(side, side, device=device, dtype=torch.bfloat16)
    return 2 * copied / seconds(lambda: target.copy_(source)), 2 * side**3 / seconds(lambda: square @ square)


def measure(
    found: Sequence[Case], measured: tuple[float, float], sheet: tuple[float, float] | None, quick: bool
) -> tuple[list[Figure], list[dict[str, Any]]]:
    """Return one figure per peer (microseconds), and one row per kernel with its fractions of both roofs."""
    figures, table = [], []
    for case in found:
        ours = seconds(case.ours, quick)
        row = {"kernel": case.name, "us": ours * 1e6, "bytes": case.cost.moved, "flop": case.cost.flop,
               "aim": case.aim, "of_measured_roof": case.cost.seconds(*measured) / ours,
               "of_datasheet_roof": sheet and case.cost.seconds(*sheet) / ours}  # fmt: skip
        table.append(row)
        print(f"{case.name:<64} {ours * 1e6:>10.1f} us  {row['of_measured_roof']:>6.1%} of the measured roof")
        for peer, run in case.peers.items():
            theirs = seconds(run, quick)
            package = {"Liger": "liger_kernel", "bitsandbytes": "bitsandbytes"}.get(peer, "torch")
            figures.append(
                Figure(
                    case.name,
                    "us",
                    ours * 1e6,
                    theirs * 1e6,
                    peer,
                    versions(package).get(package, ""),
                    theirs / ours,
                    "> 1",
                )
            )
    return figures, table


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a minute's worth, for a look")
    quick = parser.parse_args(arguments).quick
    if not torch.cuda.is_available():
        print("kernels_gpu: no CUDA GPU here, so nothing was measured")
        return 2
    device = torch.device("cuda")
    name = torch.cuda.get_device_name(device)
    sheet = next((roof for part, roof in DATASHEETS.items() if part in name), None)
    measured = roofs(device)
    print(f"{name}: copy {measured[0] / 1e12:.2f} TB/s, matmul {measured[1] / 1e12:.0f} TFLOP/s")
    figures, table = measure(
        cases(device, Shapes(tokens=2048) if quick else Shapes()), measured, sheet, quick
    )
    more = {
        "device": name,
        "quick": quick,
        "measured_roof": measured,
        "datasheet_roof": sheet,
        "kernels": table,
    }
    write("kernels_gpu", figures, versions("torch", "triton", "liger_kernel", "bitsandbytes"), more)
    return 0


if __name__ == "__main__":
    sys.exit(main())
