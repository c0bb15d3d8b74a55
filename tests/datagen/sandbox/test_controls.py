"""Attacks succeed if the layers that stop them are disabled. Otherwise the attack itself would be broken."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gristmill.datagen.sandbox.jobs import RunScript

from .attacks import FILES, NETWORK, PROCESSES, TRY
from .test_escape import PATIENT, Prey, prey  # noqa: F401
from .weakened import weakened

ATTACKS = {**NETWORK, **FILES, **PROCESSES}
#: Without its own /proc, the supervisor of a run counts every process of the machine as part of the run.
AMPLE = replace(PATIENT, processes=4000, cpu_seconds=100_000, memory_mib=1 << 20)
CAPABLE = ("seccomp", "Landlock", "user", "capabilities")
#: Attacks by the layers that stop them. Each of the layers is sufficient.
CONTROLS: dict[tuple[str, ...], tuple[str, ...]] = {
    ("seccomp",): (
        "tcp to this machine", "tcp over ipv6", "cloud metadata", "udp", "netlink", "vsock",
        "which programs others run", "read the memory of process 1", "a new user namespace",
        "a child in a new user namespace", "shared memory that outlives it",
    ),
    ("seccomp", "Landlock"): ("listen",),
    ("Landlock", "network"): ("an abstract socket",),
    ("seccomp", "Landlock", "network"): ("the shell's /dev/tcp", "urllib"),
    ("root",): ("host keys", "sysfs and control groups", "run and var"),
    ("root", "Landlock"): (
        "a file of the user", "the home folder", "a secret in the home folder", "a link to a secret",
        "up from the working folder", "write to a folder of everyone", "a local socket by its path",
        "the root of this process",
    ),
    ("/proc",): ("command lines of others",),
    ("Landlock", "/proc"): ("sysctl",),
    ("environment",): ("the environment", "the first environment"),
    ("limits",): ("raise its own limits",),
    CAPABLE: (
        "raw socket", "packet socket", "mount a tmpfs", "chroot", "host name", "change the scratch's mount",
        "uncover what is below /tmp", "limits of process 1",
    ),
    (*CAPABLE, "/proc"): ("descriptors of process 1",),
    (*CAPABLE, "/proc", "not dumpable"): (
        "the root of process 1", "memory of process 1", "environment of process 1",
    ),
    (*CAPABLE, "bounding set"): ("take capabilities back", "capabilities by a program"),
}  # fmt: skip

#: Attacks without a control run, by reason.
WITHOUT_CONTROL = {
    "it needs what a machine may not have: a network beyond itself, Docker, a kernel's module, a terminal": (
        "google metadata by name", "name lookup", "the docker socket", "kernel crypto socket",
        "socketpair of another family", "type into a terminal",
    ),
    "where it succeeded, the machine that runs the tests would be harmed": (
        "kernel memory", "sysrq", "write into /usr", "poison the standard library",
        "write into /etc and the root", "write into /dev", "replace /dev/null", "change the devices",
        "kill a process of the machine", "kill everything", "signal process groups", "set the clock",
        "reboot",
    ),
    "it would end or stop what supervises the run, which then says nothing": (
        "kill the parent", "stop the parent", "trace process 1",
    ),
    "the kernel itself refuses it to whom runs as nobody, or in a namespace of users": (
        "the password hashes", "a hard link into the scratch", "make a device", "open by handle",
        "a set-user-id program", "a set-user-id program of its own", "become root", "another's namespaces",
        "without the filter", "real time priority",
    ),
}  # fmt: skip


def test_every_attack_has_a_control_or_a_reason_why_it_has_none() -> None:
    named = [name for names in (*CONTROLS.values(), *WITHOUT_CONTROL.values()) for name in names]
    assert sorted(named) == sorted(ATTACKS)


@pytest.mark.parametrize("layers", CONTROLS, ids=" and ".join)
def test_an_attack_escapes_where_what_holds_it_is_off(
    prey: Prey,  # noqa: F811
    layers: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held = {}
    with weakened(layers, AMPLE, monkeypatch) as box:
        for name in CONTROLS[layers]:
            result = box.run_now(RunScript(prey.fill(TRY + ATTACKS[name])))
            if "ESCAPED" not in result.stdout and not prey.connections:
                held[name] = result.stdout + result.message
    for left in prey.folder.iterdir():
        left.unlink()
    prey.connections.clear()
    assert held == {}
