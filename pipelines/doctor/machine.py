"""Cores, memory, disk and GPUs."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path

import psutil

from ..weights import cache_dir
from .findings import MachineFinding

GROUP = "machine"
GIB = 2**30
#: Enough to train and serve the small packaged model at the same time.
MEMORY = 8 * GIB
#: Enough for the small packaged models and a run.
DISK = 4 * GIB


def examine_machine() -> list[MachineFinding]:
    return [_system(), _cores(), _memory(), _disk(), _gpus()]


def _system() -> MachineFinding:
    python = f"Python {platform.python_version()}"
    return MachineFinding(GROUP, "system", "ok", f"{platform.system()} {platform.release()}, {python}")


def _cores() -> MachineFinding:
    usable, all_cores = len(os.sched_getaffinity(0)), os.cpu_count() or 1
    found = f"{usable} usable" if usable == all_cores else f"{usable} usable of {all_cores}"
    return MachineFinding(GROUP, "cores", "ok", f"{found}{_vector_extensions()}")


def _vector_extensions() -> str:
    """The CPU features that determine the speed of a CPU engine."""
    try:
        flags = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return ""
    known = {"avx2": "AVX2", "avx512f": "AVX-512", "avx512_bf16": "bfloat16", "amx_tile": "AMX"}
    return "".join(f", {name}" for flag, name in known.items() if flag in flags)


def _memory() -> MachineFinding:
    memory = psutil.virtual_memory()
    limit = _memory_limit()
    total = min(memory.total, limit) if limit else memory.total
    found = f"{total / GIB:.1f} GiB, {min(memory.available, total) / GIB:.1f} free"
    if limit and limit < memory.total:
        found += f" (a control group's limit; the machine has {memory.total / GIB:.1f})"
    if total < MEMORY:
        fix = f"the quickstart needs {MEMORY // GIB} GiB: give the container or the machine more"
        return MachineFinding(GROUP, "memory", "missing", found, fix)
    return MachineFinding(GROUP, "memory", "ok", found)


def _memory_limit() -> int | None:
    """The limit of this process's control group in bytes, if it has one."""
    try:
        text = Path("/sys/fs/cgroup/memory.max").read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _disk() -> MachineFinding:
    place = cache_dir()
    there = next(path for path in (place, *place.parents) if path.exists())
    free = shutil.disk_usage(there).free
    found = f"{free / GIB:.1f} GiB free for the model cache {place}"
    if not os.access(there, os.W_OK):
        fix = "set GRISTMILL_CACHE to a directory that you can write"
        return MachineFinding(GROUP, "disk", "missing", f"{there} cannot be written", fix)
    if free < DISK:
        fix = f"make room ({DISK // GIB} GiB), or set GRISTMILL_CACHE to a directory on a larger disk"
        return MachineFinding(GROUP, "disk", "missing", found, fix)
    return MachineFinding(GROUP, "disk", "ok", found)


def _gpus() -> MachineFinding:
    """The GPUs as reported by nvidia-smi; importing torch would take seconds."""
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    none = "none: models run on the CPU"
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return MachineFinding(
            GROUP, "GPU", "missing", none, "no NVIDIA driver was found; small models do without"
        )
    names = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    if done.returncode != 0 or not names:
        said = (done.stderr or done.stdout).strip().splitlines()
        fix = f"nvidia-smi says: {said[-1] if said else 'nothing'}"
        return MachineFinding(GROUP, "GPU", "missing", none, fix)
    return MachineFinding(GROUP, "GPU", "ok", "; ".join(names))
