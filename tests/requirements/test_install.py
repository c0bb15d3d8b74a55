"""What `make install` refuses before it downloads anything, and its message if torch has no CPU build."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
VERSION = "2.13.0"

UNREACHABLE = """error: Failed to fetch: https://index.example/whl/cpu/torch/
  cause: error sending request for url (https://index.example/whl/cpu/torch/)
  cause: dns error"""
NONE = (
    "error: No solution found when resolving dependencies\n"
    "  cause: Because torch==2.13.0 has no wheels with a matching Python ABI tag (e.g., `cp314`) "
    "and you require it"
)


@pytest.fixture
def held(environment: ModuleType, tmp_path: Path) -> Any:
    """An environment that consists of folders only."""
    (tmp_path / "venv" / "lib" / "python3.11" / "site-packages").mkdir(parents=True)
    (tmp_path / "venv" / "bin").mkdir()
    return environment.Environment(tmp_path / "venv")


class Tried:
    """Replaces calls of pip and uv: records the commands and returns the given outputs."""

    def __init__(self, *answers: tuple[int, str]) -> None:
        self.commands: list[list[str]] = []
        self._answers = list(answers)

    def __call__(self, command: list[str]) -> tuple[int, str]:
        self.commands.append(command)
        return self._answers.pop(0)


def test_torch_s_cpu_build_comes_from_pip_where_its_index_has_it(install: ModuleType, held: Any) -> None:
    held.attempt = tried = Tried((0, ""))
    install.torch_for_cpus(held, any_build=False)
    assert [command[-2:] for command in tried.commands] == [["--no-deps", f"torch=={VERSION}+cpu"]]


@pytest.mark.parametrize(
    "said",
    ["ERROR: No matching distribution found for torch", "ERROR: ResolutionImpossible: for help visit a page"],
)
def test_elsewhere_it_comes_through_uv_s_backend_for_cpus(install: ModuleType, held: Any, said: str) -> None:
    held.attempt = tried = Tried((1, said), (0, ""))
    install.torch_for_cpus(held, any_build=False)
    assert tried.commands[1][-4:] == ["--no-deps", "--torch-backend", "cpu", f"torch=={VERSION}"]
    assert tried.commands[1][0] == str(held.uv)


@pytest.mark.parametrize(("said", "told"), [(UNREACHABLE, "cannot be reached"), (NONE, "has none")])
def test_no_cpu_build_is_one_sentence_that_says_what_to_do(
    install: ModuleType, environment: ModuleType, held: Any, said: str, told: str
) -> None:
    held.attempt = Tried((1, "ERROR: No matching distribution found for torch"), (1, said))
    with pytest.raises(environment.InstallError) as caught:
        install.torch_for_cpus(held, any_build=False)
    sentence = str(caught.value)
    assert sentence.startswith(
        f"no CPU build of torch {VERSION} for Python 3.{sys.version_info[1]} was found: "
    )
    assert f"PyTorch's own index {told}: " in sentence
    assert "`PIP_FIND_LINKS=FOLDER make install`" in sentence
    assert "`make install TORCH=any`" in sentence
    assert "\n" not in sentence


def test_a_full_disk_is_not_taken_for_a_missing_build(
    install: ModuleType, environment: ModuleType, held: Any
) -> None:
    held.attempt = tried = Tried((1, "ERROR: [Errno 28] No space left on device"))
    with pytest.raises(environment.InstallError, match="the disk is full"):
        install.torch_for_cpus(held, any_build=False)
    assert len(tried.commands) == 1


@pytest.mark.parametrize(
    ("there", "any_build", "asked"),
    [
        (f"torch-{VERSION}+cpu", False, False),
        (f"torch-{VERSION}+cpu", True, False),
        (f"torch-{VERSION}", True, False),
        (f"torch-{VERSION}", False, True),
        ("torch-2.12.0+cpu", False, True),
        (f"torchvision-{VERSION}+cpu", False, True),
    ],
)
def test_torch_is_left_where_it_is_the_one(
    install: ModuleType, held: Any, there: str, any_build: bool, asked: bool
) -> None:
    (held.site() / f"{there}.dist-info").mkdir()
    held.attempt = tried = Tried((0, ""))
    install.torch_for_cpus(held, any_build=any_build)
    assert bool(tried.commands) is asked


def test_what_the_lock_pins_is_installed_by_hash_and_without_a_resolver(
    install: ModuleType, held: Any
) -> None:
    held.attempt = tried = Tried((0, ""), (0, ""))
    install.pinned("cpu", held)
    lock, ours = tried.commands
    assert {"--require-hashes", "--no-deps", "--only-binary", str(ROOT / "requirements" / "cpu.lock")} <= set(
        lock
    )
    assert {"--no-deps", "--no-build-isolation", "--editable"} <= set(ours), (
        "nothing unpinned may build it either"
    )


def test_what_builds_the_site_stands_apart_from_gristmill_and_torch(install: ModuleType, held: Any) -> None:
    held.attempt = tried = Tried((0, ""))
    held.create = lambda: None
    install.install("docs", held, "cpu")
    (lock,) = tried.commands
    assert {
        "--require-hashes",
        "--no-deps",
        "--only-binary",
        str(ROOT / "requirements" / "docs.lock"),
    } <= set(lock)


@pytest.mark.parametrize(("build", "other"), [("cpu", "cuda"), ("cuda", "cpu")])
def test_the_two_builds_do_not_share_an_environment(
    install: ModuleType, environment: ModuleType, held: Any, build: str, other: str
) -> None:
    (held.venv / f".installed-{other}").touch()
    held.create = lambda: pytest.fail("the environment was touched")
    with pytest.raises(
        environment.InstallError, match=rf"holds the {other} build.*`make install BUILD={build} VENV="
    ):
        install.install(build, held, "cpu")


def test_a_stale_lock_is_refused_before_anything_is_fetched(
    install: ModuleType,
    environment: ModuleType,
    locks: ModuleType,
    held: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stale(name: str) -> None:
        raise environment.InstallError(f"{name} is stale")

    monkeypatch.setattr(locks, "check", stale)
    held.create = lambda: pytest.fail("the environment was touched")
    with pytest.raises(environment.InstallError, match="installer is stale"):
        install.install("cpu", held, "cpu")


def test_make_says_one_sentence_where_there_is_no_such_python(tmp_path: Path) -> None:
    command = ["make", "-s", "install", "PYTHON=python3.99", f"VENV={tmp_path / 'venv'}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    first, *rest = done.stderr.splitlines()
    assert first.startswith("there is no python3.99: name a Python, as in `make install PYTHON=")
    assert all(re.match(r"make(\[\d+\])?: ", line) for line in rest)
    assert not (tmp_path / "venv").exists()


@pytest.mark.parametrize("script", ["install.py", "locks.py"])
def test_an_unsupported_python_gets_one_sentence_from_the_script(script: str, tmp_path: Path) -> None:
    """Run the real script with an older version number: no traceback, and nothing is created."""
    requirements = ROOT / "requirements"
    older = "import sys, runpy; sys.version_info = (3, 10, 13, 'final', 0); sys.path.insert(0, sys.argv[1]); "
    run = f"{older}script, sys.argv = sys.argv[2], sys.argv[2:]; runpy.run_path(script, run_name='__main__')"
    words = ["cpu"] if script == "install.py" else []
    command = [sys.executable, "-c", run, str(requirements), str(requirements / script), *words]
    done = subprocess.run(
        [*command, "--into", str(tmp_path / "venv")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    (sentence,) = done.stderr.splitlines()
    assert sentence.startswith("Gristmill needs Python 3.11, 3.12 or 3.13, but ")
    assert not (tmp_path / "venv").exists()
