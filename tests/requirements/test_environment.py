"""A failed installation prints one sentence. The tests make the real tools fail in different ways."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
UV = Path(sys.executable).with_name("uv")
NO_HASH = "0" * 64


@pytest.fixture
def made(environment: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An empty environment with the uv of the environment that runs the tests."""
    if not UV.exists():
        pytest.skip("this environment has no uv")
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    found = environment.Environment(venv)
    found.uv = UV
    return found


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    """A folder with a wheel of 2 MB of incompressible data."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    with zipfile.ZipFile(folder / "grain-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("grain.py", "#" + os.urandom(1_000_000).hex())
        wheel.writestr("grain-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: grain\nVersion: 1.0\n")
        wheel.writestr(
            "grain-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr("grain-1.0.dist-info/RECORD", "")
    return folder


def _pip(made: Any, *words: str) -> list[str]:
    return [str(made.uv), "pip", "install", "--python", str(made.python), *words]


def _sentence(environment: ModuleType, made: Any, command: list[str]) -> str:
    with pytest.raises(environment.InstallError) as caught:
        made.run("installing grain", command)
    said = str(caught.value)
    assert said.startswith("installing grain failed: ")
    assert said.endswith(f"; all output is in {made.log}")
    assert "\n" not in said
    assert command[0] in made.log.read_text()
    return said


@pytest.mark.parametrize("index", ["http://127.0.0.1:9/simple", "http://nowhere.invalid/simple"])
def test_an_index_that_cannot_be_reached(environment: ModuleType, made: Any, index: str) -> None:
    said = _sentence(environment, made, _pip(made, "--index-url", index, "grain"))
    assert "a package index cannot be reached: check the network" in said


def test_pip_and_an_index_that_cannot_be_reached(environment: ModuleType, made: Any, tmp_path: Path) -> None:
    index = ["--retries", "1", "--isolated", "--index-url", "http://127.0.0.1:9/simple"]
    command = [sys.executable, "-m", "pip", "install", "--target", str(tmp_path / "t"), *index, "grain"]
    assert "a package index cannot be reached" in _sentence(environment, made, command)


def test_a_file_that_is_not_the_pinned_one(
    environment: ModuleType, made: Any, wheels: Path, tmp_path: Path
) -> None:
    lock = tmp_path / "a.lock"
    lock.write_text(f"grain==1.0 --hash=sha256:{NO_HASH}\n")
    local = ["--no-index", "--find-links", str(wheels), "--require-hashes", "-r", str(lock)]
    assert "does not match its hash in the lock" in _sentence(environment, made, _pip(made, *local))
    pip = [sys.executable, "-m", "pip", "install", "--target", str(tmp_path / "t"), *local]
    assert "does not match its hash in the lock" in _sentence(environment, made, pip)


def test_a_lock_without_a_hash(environment: ModuleType, made: Any, wheels: Path, tmp_path: Path) -> None:
    lock = tmp_path / "a.lock"
    lock.write_text("grain==1.0\n")
    local = ["--no-index", "--find-links", str(wheels), "--require-hashes", "-r", str(lock)]
    assert "hash" in _sentence(environment, made, _pip(made, *local))


def test_a_package_that_the_index_has_not(
    environment: ModuleType, made: Any, wheels: Path, tmp_path: Path
) -> None:
    local = ["--no-index", "--find-links", str(wheels), "grain==2.0"]
    expected = "the index has no file of a pinned package for this Python and machine"
    assert expected in _sentence(environment, made, _pip(made, *local))
    pip = [sys.executable, "-m", "pip", "install", "--isolated", "--target", str(tmp_path / "t"), *local]
    assert expected in _sentence(environment, made, pip)


def test_a_folder_that_may_not_be_written(environment: ModuleType, made: Any, wheels: Path) -> None:
    made.site().chmod(0o500)
    local = ["--no-index", "--find-links", str(wheels), "--link-mode", "copy", "grain"]
    command = _pip(made, *local)
    if os.geteuid() == 0:  # Root may write anywhere, so run this as a user without privileges.
        command = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--clear-groups", *command]
        if subprocess.run([*command[:4], "true"], check=False).returncode:
            pytest.skip("root cannot give up its rights here")
    try:
        assert "is not writable" in _sentence(environment, made, command)
    finally:
        made.site().chmod(0o700)


def test_a_full_disk(environment: ModuleType, made: Any, wheels: Path) -> None:
    local = ["--no-index", "--find-links", str(wheels), "--link-mode", "copy", "--no-cache", "grain"]
    mount = f"mount -t tmpfs -o size=400k tmpfs {made.site()} && exec "
    command = ["unshare", "-rm", "sh", "-c", mount + " ".join(_pip(made, *local))]
    if subprocess.run([*command[:4], f"mount -t tmpfs tmpfs {made.site()}"], check=False).returncode:
        pytest.skip("no file system can be mounted here")
    assert f"the disk is full: free space where {made.venv}" in _sentence(environment, made, command)


def test_too_little_disk_is_told_before_anything_is_fetched(environment: ModuleType, tmp_path: Path) -> None:
    environment.check_disk(tmp_path / "venv", 1)
    with pytest.raises(
        environment.InstallError, match=r"^[\d.]+ GB are free for .*, but about 1000000 GB are needed"
    ):
        environment.check_disk(tmp_path / "venv", 10**15)


def test_another_failure_is_told_in_the_tool_s_words(environment: ModuleType, made: Any) -> None:
    said = _sentence(environment, made, _pip(made, "--no-index", "grain @ nonsense"))
    assert "failed: " in said
    assert "Traceback" not in said
    assert len(said) < 400


@pytest.mark.parametrize("version", [(2, 7, 18), (3, 6, 15), (3, 10, 13), (3, 14, 0), (4, 0, 0)])
def test_a_python_that_is_not_supported(
    environment: ModuleType, monkeypatch: pytest.MonkeyPatch, version: tuple[int, ...]
) -> None:
    monkeypatch.setattr(sys, "version_info", (*version, "final", 0))
    with pytest.raises(
        environment.InstallError, match=r"^Gristmill needs Python 3.11, 3.12 or 3.13, but .*: .*`make inst"
    ):
        environment.check_machine()


def test_this_python_is_supported(environment: ModuleType) -> None:
    environment.check_machine()


@pytest.mark.parametrize(
    ("system", "machine"), [("darwin", "x86_64"), ("win32", "x86_64"), ("linux", "ppc64le")]
)
def test_a_machine_that_is_not_supported(
    environment: ModuleType, monkeypatch: pytest.MonkeyPatch, system: str, machine: str
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(os, "uname", lambda: os.uname_result((system, "host", "1", "1", machine)))
    with pytest.raises(
        environment.InstallError, match=f"needs Linux on x86_64 or aarch64, but this is {system} on {machine}"
    ):
        environment.check_machine()


def test_python_s_venv_package_may_be_missing(environment: ModuleType, tmp_path: Path) -> None:
    """The Python of Debian reports this when it creates an environment."""
    said = "The virtual environment was not created successfully because ensurepip is not\navailable."
    assert "apt install python3-venv" in environment._venv_failed(tmp_path / "venv", said)


def test_a_half_made_environment_is_made_again(environment: ModuleType, tmp_path: Path) -> None:
    found = environment.Environment(tmp_path / "venv")
    assert not found._works()
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(found.venv)], check=True)
    assert not found._works(), "it has no pip: its making was cut off"


def test_an_environment_of_another_python_is_left_alone(environment: ModuleType, tmp_path: Path) -> None:
    found = environment.Environment(tmp_path / "venv")
    (found.venv / "lib" / "python3.9" / "site-packages").mkdir(parents=True)
    found._works = lambda: True
    found.attempt = lambda command: pytest.fail("something was installed")
    with pytest.raises(
        environment.InstallError, match=r"was created with python3\.9, but .* is python3\.1.*`make clean`"
    ):
        found.create()
    assert (found.venv / "lib" / "python3.9").exists()
