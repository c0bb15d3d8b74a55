"""What isolation generated code gets on this machine: a sandbox is started, and says what it has."""

from __future__ import annotations

from pathlib import Path

from ...datagen.sandbox import isolation, landlock
from .findings import Finding

GROUP = "sandbox"
SECCOMP = Path("/proc/sys/kernel/seccomp/actions_avail")


def examine_sandbox() -> list[Finding]:
    return [_namespaces(), _landlock(), _seccomp()]


def _namespaces() -> Finding:
    found = isolation.examine()
    if isinstance(found, str):
        fix = f"generated code runs only with 'unsafe: true' here; {isolation.HOW_TO_ALLOW}"
        return Finding(GROUP, "namespaces", "missing", found, fix)
    user = "a user id of its own" if found.separate else "this user's id, without rights"
    what = f"no network, a read-only root without home, its own processes and /tmp, {user}"
    how = "" if found.way == "namespaces" else f", by a {found.way} call each (nothing is warm)"
    return Finding(GROUP, "namespaces", "ok", f"each run has {what}{how}")


def _landlock() -> Finding:
    abi = landlock.abi()
    if abi:
        return Finding(GROUP, "Landlock", "ok", f"ABI {abi}")
    fix = "a kernel of 5.13 or later with lsm=landlock has it; it is a second wall, and runs go without"
    return Finding(GROUP, "Landlock", "missing", "the kernel has none", fix)


def _seccomp() -> Finding:
    if SECCOMP.is_file():
        return Finding(GROUP, "seccomp", "ok", "filters are available")
    fix = "a kernel with CONFIG_SECCOMP_FILTER has it; without it the sandbox does not start"
    return Finding(GROUP, "seccomp", "missing", f"{SECCOMP} is not there", fix)
