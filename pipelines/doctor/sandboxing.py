"""Reports the isolation of generated code on this machine, from a sandbox that is started for it."""

from __future__ import annotations

from pathlib import Path

from ...datagen.sandbox import isolation, landlock
from ...datagen.sandbox.failures import DidNotStart
from ...datagen.sandbox.launching import Isolation
from .findings import MachineFinding

GROUP = "sandbox"
SECCOMP = Path("/proc/sys/kernel/seccomp/actions_avail")


def examine_sandbox() -> list[MachineFinding]:
    try:
        found = isolation.examine()
    except DidNotStart as error:
        fix = "this says nothing about isolation: try again when the machine is less busy and has free memory"
        slow = MachineFinding(
            GROUP, "namespaces", "missing", f"not known: a sandbox did not start, {error}", fix
        )
        return [slow, _landlock(), _seccomp()]
    return [_namespaces(found), _landlock(), _seccomp(), _control_groups(found)]


def _namespaces(found: Isolation | str) -> MachineFinding:
    if isinstance(found, str):
        fix = f"generated code runs only with 'unsafe: true' here; {isolation.HOW_TO_ALLOW}"
        return MachineFinding(GROUP, "namespaces", "missing", found, fix)
    user = "a user id of its own" if found.separate else "this user's id, without rights"
    what = f"no network, a read-only root without home, its own processes and /tmp, {user}"
    how = "" if found.way == "namespaces" else f", by a {found.way} call each (nothing is warm)"
    return MachineFinding(GROUP, "namespaces", "ok", f"each run has {what}{how}")


def _landlock() -> MachineFinding:
    abi = landlock.abi()
    if abi:
        return MachineFinding(GROUP, "Landlock", "ok", f"ABI {abi}")
    fix = "a kernel of 5.13 or later with lsm=landlock has it; it is a second wall, and runs go without"
    return MachineFinding(GROUP, "Landlock", "missing", "the kernel has none", fix)


def _seccomp() -> MachineFinding:
    if SECCOMP.is_file():
        return MachineFinding(GROUP, "seccomp", "ok", "filters are available")
    fix = "a kernel with CONFIG_SECCOMP_FILTER has it; without it the sandbox does not start"
    return MachineFinding(GROUP, "seccomp", "missing", f"{SECCOMP} is not there", fix)


def _control_groups(found: Isolation | str) -> MachineFinding:
    if isinstance(found, Isolation) and found.cgroup:
        what = f"version {found.cgroup}: all memory and processes of a worker and its runs are bounded"
        return MachineFinding(GROUP, "control groups", "ok", what)
    fix = (
        "systemd delegates them to what it starts for you (systemd-run --user --scope gristmill …); "
        "runs go without, and "
        "memory that the kernel takes for them is then not counted"
    )
    return MachineFinding(
        GROUP, "control groups", "missing", "none may be made here for memory and pids", fix
    )
