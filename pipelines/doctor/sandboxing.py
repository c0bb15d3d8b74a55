"""What the kernel offers to isolate generated code: each is tried, not assumed."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from pathlib import Path

from .findings import Finding

GROUP = "sandbox"
#: The system call's number is the same on every architecture (it came after they were unified).
LANDLOCK_CREATE_RULESET = 444
LANDLOCK_CREATE_RULESET_VERSION = 1


def examine_sandbox() -> list[Finding]:
    return [_namespaces(), _bubblewrap(), _landlock(), _seccomp(), _control_groups()]


def _namespaces() -> Finding:
    what = "user namespaces"
    try:
        done = subprocess.run(
            ["unshare", "-Ur", "true"], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Finding(GROUP, what, "missing", f"unshare did not run ({error})", "install util-linux")
    if done.returncode == 0:
        return Finding(GROUP, what, "ok", "an unprivileged process can make one")
    fix = (
        "allow them: sysctl kernel.unprivileged_userns_clone=1, user.max_user_namespaces above 0 and, on "
        "Ubuntu, kernel.apparmor_restrict_unprivileged_userns=0; in a container, a seccomp profile with unshare"
    )
    return Finding(GROUP, what, "missing", done.stderr.strip() or "refused", fix)


def _bubblewrap() -> Finding:
    program = shutil.which("bwrap")
    if program is None:
        fix = "install bubblewrap (apt install bubblewrap), unless user namespaces are there"
        return Finding(GROUP, "bubblewrap", "missing", "no bwrap on PATH", fix)
    trial = [program, "--ro-bind", "/", "/", "--unshare-all", "true"]
    try:
        done = subprocess.run(trial, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Finding(GROUP, "bubblewrap", "missing", f"{program} did not run ({error})", "reinstall it")
    if done.returncode != 0:
        said = done.stderr.strip() or f"exit code {done.returncode}"
        return Finding(GROUP, "bubblewrap", "missing", said, "it needs user namespaces: see above")
    return Finding(GROUP, "bubblewrap", "ok", program)


def _landlock() -> Finding:
    """The kernel's Landlock ABI version; the call with this flag only asks."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    abi = libc.syscall(
        ctypes.c_long(LANDLOCK_CREATE_RULESET),
        None,
        ctypes.c_size_t(0),
        ctypes.c_uint32(LANDLOCK_CREATE_RULESET_VERSION),
    )
    if abi > 0:
        return Finding(GROUP, "Landlock", "ok", f"ABI {abi}")
    reason = os.strerror(ctypes.get_errno())
    return Finding(GROUP, "Landlock", "missing", reason, "a kernel of 5.13 or later with lsm=landlock has it")


def _seccomp() -> Finding:
    actions = Path("/proc/sys/kernel/seccomp/actions_avail")
    if actions.is_file():
        return Finding(GROUP, "seccomp", "ok", "filters are available")
    return Finding(
        GROUP, "seccomp", "missing", f"{actions} is not there", "a kernel with CONFIG_SECCOMP_FILTER has it"
    )


def _control_groups() -> Finding:
    controllers = Path("/sys/fs/cgroup/cgroup.controllers")
    if not controllers.is_file():
        fix = "mount the unified hierarchy; without it, limits are those of setrlimit"
        return Finding(GROUP, "control groups v2", "missing", f"{controllers} is not there", fix)
    names = controllers.read_text().split()
    writable = os.access(controllers.parent, os.W_OK)
    found = f"{', '.join(names) or 'no controllers'}{'' if writable else ' (not writable here)'}"
    return Finding(GROUP, "control groups v2", "ok", found)
