"""Installs Gristmill with what it needs into an environment: what `make install` and `make newest` run.

    install.py cpu       torch's CPU build, then requirements/cpu.lock, every file checked by its hash
    install.py cuda      requirements/cuda.lock, every file checked by its hash
    install.py docs      requirements/docs.lock, every file checked by its hash: what builds the documentation's site
    install.py newest    torch's CPU build, then the newest of everything else, whatever the upper bounds say

Torch's CPU build has the version of its CUDA build and other files on other indexes, so no lock can hold its hash:
its version is exact, and it comes from where pip or, failing that, PyTorch's own index has it.
"""

import argparse
import re
import sys
import time
from pathlib import Path

import locks
from environment import (
    DISK_FULL,
    NO_FILE,
    NO_NETWORK,
    NOT_WRITABLE,
    REQUIREMENTS,
    ROOT,
    Environment,
    InstallError,
    check_disk,
    check_machine,
)

BUILDS = ("cpu", "cuda", "docs", "newest")
#: Bytes that an environment takes on disk, with room for the caches' part of it.
NEEDED = {"cpu": 5_000_000_000, "newest": 5_000_000_000, "cuda": 15_000_000_000, "docs": 300_000_000}


def install(build: str, environment: Environment, torch: str) -> None:
    """Raises InstallError, with one sentence that says what to do."""
    for lock in ("installer",) if build == "newest" else ("installer", build):
        locks.check(lock)
    other = {"cpu": "cuda", "cuda": "cpu"}.get(build)
    if (environment.venv / f".installed-{other}").exists():
        raise InstallError(
            f"{environment.venv} holds the {other} build, and the two exclude each other: name another place, as in "
            f"`make install BUILD={build} VENV=.venv-{build}`, or run `make clean` first"
        )
    if not environment.python.exists():
        check_disk(environment.venv, NEEDED[build])
    environment.create()
    if build in ("cpu", "newest"):
        torch_for_cpus(environment, any_build=torch == "any")
    if build == "newest":
        newest(environment)
    else:
        pinned(build, environment)


def torch_for_cpus(environment: Environment, any_build: bool) -> None:
    """Torch at the version of requirements/torch.txt: its CPU build, or with ``any_build`` whatever the index has."""
    version = torch_version()
    if list(environment.site().glob(f"torch-{version}{'*' if any_build else '+cpu'}.dist-info")):
        return
    print(f"installing torch {version}", flush=True)
    uv = _uv(environment)
    if any_build:
        # The usual build needs the CUDA libraries that it names in order to be imported.
        environment.run("installing torch", [*uv, f"torch=={version}"])
        return
    pip = [str(environment.python), "-m", "pip", "install", "--no-deps", f"torch=={version}+cpu"]
    code, said = environment.attempt(pip)
    if code == 0:
        return
    if re.search(DISK_FULL, said) or re.search(NOT_WRITABLE, said):
        raise environment.failure("installing torch", said)
    code, said = environment.attempt([*uv, "--no-deps", "--torch-backend", "cpu", f"torch=={version}"])
    if code:
        raise no_cpu_build(version, said, environment)


def no_cpu_build(version: str, said: str, environment: Environment) -> InstallError:
    """What to do where pip's index has no CPU build and uv, on PyTorch's own index, printed ``said``."""
    if re.search(NO_NETWORK, said):
        theirs = "cannot be reached"
    elif re.search(NO_FILE, said):
        theirs = "has none"
    else:
        return environment.failure("installing torch", said)
    return InstallError(
        f"no CPU build of torch {version} for Python {sys.version_info[0]}.{sys.version_info[1]} was found: the index of "
        f"pip has none, and PyTorch's own index {theirs}: make one of them reachable, name a folder that has the file "
        "(`PIP_FIND_LINKS=FOLDER make install`), or take the usual build of several GB (`make install TORCH=any`); all "
        f"output is in {environment.log}"
    )


def pinned(build: str, environment: Environment) -> None:
    """What the lock holds, and Gristmill itself (but for the site), without a resolver and without building anything else."""
    lock = locks.path(build)
    print(f"installing what {lock.relative_to(ROOT)} pins", flush=True)
    uv = _uv(environment)
    environment.run(
        "installing what the lock pins", [*uv, "--no-deps", "--no-build", "--require-hashes", "-r", str(lock)]
    )
    if build == "docs":
        return
    environment.run(
        "installing Gristmill", [*uv, "--no-deps", "--no-build-isolation", "--editable", str(ROOT)]
    )


def newest(environment: Environment) -> None:
    """The newest of everything but torch, and a list of what differs from the lock."""
    print("installing the newest of everything", flush=True)
    bounds = environment.venv / "lifted.txt"
    bounds.write_text("\n".join([*locks.lifted(), f"torch=={torch_version()}"]) + "\n")
    left_out = str(REQUIREMENTS / "left-out.txt")
    options = ["--overrides", str(bounds), "--excludes", left_out, "--editable", f"{ROOT}[cpu,dev]"]
    environment.run("installing the newest of everything", [*_uv(environment), *options])
    pins = dict(re.findall(r"^([\w.-]+)==([^\s;]+)", locks.path("cpu").read_text(), re.MULTILINE))
    for name, version in sorted(_installed(environment).items()):
        if name in pins and pins[name] != version:
            print(f"newer than the lock: {name} {version} (pinned: {pins[name]})")


def torch_version() -> str:
    return re.search(r"^torch==(\S+)$", (REQUIREMENTS / "torch.txt").read_text(), re.MULTILINE).group(1)


def _installed(environment: Environment) -> dict:
    """Name, as a lock writes it, -> version of every installed package."""
    found = [
        folder.name[: -len(".dist-info")].rsplit("-", 1) for folder in environment.site().glob("*.dist-info")
    ]
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in found}


def _uv(environment: Environment) -> list:
    return [str(environment.uv), "pip", "install", "--python", str(environment.python)]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("build", choices=BUILDS)
    parser.add_argument("--into", type=Path, default=Path(".venv"), help="the environment (default: .venv)")
    parser.add_argument(
        "--torch", choices=("cpu", "any"), default="cpu", help="any: torch's usual build will do"
    )
    arguments = parser.parse_args()
    started = time.time()
    try:
        check_machine()
        install(arguments.build, Environment(arguments.into.absolute()), arguments.torch)
    except InstallError as failure:
        print(failure, file=sys.stderr)
        return 1
    print(f"installed in {time.time() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
