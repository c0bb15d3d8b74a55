"""``gristmill doctor`` on this machine, and on machines that lack things."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
from pathlib import Path

import psutil
import pytest

from gristmill.datagen.sandbox import isolation
from gristmill.datagen.sandbox.failures import DidNotStart, NotIsolated
from gristmill.datagen.sandbox.launching import Zygote
from gristmill.pipelines.cli.main import main
from gristmill.pipelines.doctor import MachineFinding, examine, machine, sandboxing, software


def finding(found: list[MachineFinding], what: str) -> MachineFinding:
    (one,) = [line for line in found if line.what == what]
    return one


def test_it_covers_what_a_run_depends_on() -> None:
    found = examine()
    assert {line.group for line in found} == {"machine", "engines", "frameworks", "sandbox", "models"}
    expected = {
        "cores",
        "memory",
        "disk",
        "GPU",
        "vllm",
        "transformers",
        "torch",
        "ray",
        "namespaces",
        "Landlock",
    }
    assert expected <= {line.what for line in found}
    assert all(line.found for line in found)
    assert all(line.fix for line in found if line.state == "missing"), "what is missing says what to do"
    assert all(not line.fix for line in found if line.state == "ok")


def test_it_tells_the_truth_about_this_machine() -> None:
    found = examine()
    assert finding(found, "cores").found.startswith(f"{len(os.sched_getaffinity(0))} usable")
    trial = subprocess.run(["unshare", "-Urmpnf", "--mount-proc", "true"], capture_output=True, check=False)
    assert (finding(found, "namespaces").state == "ok") == (trial.returncode == 0)
    assert finding(found, "torch").found == __import__("importlib.metadata").metadata.version("torch")


def test_the_plain_report_has_a_line_a_finding(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert all(line.what in out for line in examine())


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    lines = json.loads(capsys.readouterr().out)
    assert {"group", "what", "state", "found", "fix"} == set(lines[0])
    assert {line["state"] for line in lines} <= {"ok", "missing"}


def test_cached_and_missing_models_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRISTMILL_CACHE", str(tmp_path / "cache"))
    line = finding(list(software.examine_models()), "smollm2-135m-instruct")
    assert line.state == "missing"
    assert "gristmill models pull smollm2-135m-instruct" in line.fix


def test_a_machine_without_the_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert finding(machine.examine_machine(), "GPU").found == "none: models run on the CPU"


@pytest.mark.parametrize(
    ("script", "state", "said"),
    [
        ("echo 'NVIDIA H100, 81559 MiB, 580.1'", "ok", "NVIDIA H100, 81559 MiB, 580.1"),
        ("echo 'Failed to initialize NVML' ; exit 9", "missing", "none"),
        ("exit 0", "missing", "none"),
    ],
)
def test_gpus_as_the_driver_tells_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, state: str, said: str
) -> None:
    (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    line = finding(machine.examine_machine(), "GPU")
    assert line.state == state
    assert line.found.startswith(said)


def test_a_full_disk_and_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type(machine.shutil.disk_usage("/"))(10, 9, 1)
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda path: usage)
    small = psutil.virtual_memory()._replace(total=2 * machine.GIB, available=machine.GIB)
    monkeypatch.setattr(machine.psutil, "virtual_memory", lambda: small)
    found = machine.examine_machine()
    assert "GRISTMILL_CACHE" in finding(found, "disk").fix
    assert "needs 8 GiB" in finding(found, "memory").fix


def test_the_limit_of_a_control_group_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_memory_limit", lambda: 3 * machine.GIB)
    line = finding(machine.examine_machine(), "memory")
    assert line.state == "missing"
    assert line.found.startswith("3.0 GiB")
    assert "control group" in line.found


def test_a_missing_framework_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(software, "installed", lambda package: None)
    found = software.examine_software()
    assert "make install" in finding(found, "vllm").fix
    assert "--executor ray" in finding(found, "ray").fix


def test_landlock_answers_as_the_kernel_does() -> None:
    line = finding(sandboxing.examine_sandbox(), "Landlock")
    abi = ctypes.CDLL(None, use_errno=True).syscall(444, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    assert line.state == ("ok" if abi > 0 else "missing")


def test_a_machine_that_gives_no_isolation_says_why_and_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(way: str, *rest: object, **more: object) -> Zygote:
        raise NotIsolated("unshare: Operation not permitted")

    monkeypatch.setattr(isolation, "Zygote", refuse)
    monkeypatch.setattr(isolation, "BubblewrapCalls", refuse)
    line = finding(sandboxing.examine_sandbox(), "namespaces")
    assert line.state == "missing"
    assert "Operation not permitted" in line.found
    assert "user.max_user_namespaces" in line.fix


def test_a_sandbox_that_is_slow_to_start_is_not_a_lack_of_isolation(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(way: str, *rest: object, **more: object) -> Zygote:
        raise DidNotStart("it was not ready within 120 s")

    monkeypatch.setattr(isolation, "Zygote", slow)
    line = finding(sandboxing.examine_sandbox(), "namespaces")
    assert line.found == "not known: a sandbox did not start, it was not ready within 120 s"
    assert "unsafe" not in line.fix
    assert "user.max_user_namespaces" not in line.fix
