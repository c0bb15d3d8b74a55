"""Installs Gristmill and its dependencies into an environment. `make install` and `make newest` run it.

    install.py cpu       torch's CPU build, then requirements/cpu.lock, every file checked by its hash
    install.py cuda      requirements/cuda.lock, every file checked by its hash install.py docs
    requirements/docs.lock, every file checked by its hash: the tools that build the docs site install.py
    newest    torch's CPU build, then the newest version of everything else, ignoring upper bounds

Torch's CPU build has the same version as its CUDA build, but its files differ between indexes. So no lock can
contain its hash. Its version is exact. It comes from pip's index or, if that has none, from PyTorch's own
index.
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
#: Disk space of an environment, including the part of the caches, in bytes.
NEEDED = {"cpu": 5_000_000_000, "newest": 5_000_000_000, "cuda": 15_000_000_000, "docs": 300_000_000}

#: Published as source alone, and built here with the pinned setuptools.
BUILT = "langdetect"


def install(build: str, environment: Environment, torch: str) -> None:
    """Install a build. Raises InstallError with one sentence that says what to do."""
    for lock in ("installer",) if build == "newest" else ("installer", build):
        locks.check(lock)
    other = {"cpu": "cuda", "cuda": "cpu"}.get(build)
    if (environment.venv / f".installed-{other}").exists():
        raise InstallError(
            f"{environment.venv} holds the {other} build, and the two exclude each other: choose "
            "another folder, as in "
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
    """Install torch at the version of requirements/torch.txt.

    This is its CPU build, or with ``any_build`` the build on the index.
    """
    version = torch_version()
    if list(environment.site().glob(f"torch-{version}{'*' if any_build else '+cpu'}.dist-info")):
        return
    print(f"installing torch {version}", flush=True)
    uv = _uv(environment)
    if any_build:
        # The default build cannot be imported without the CUDA libraries on which it depends.
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
    """The error if neither pip's index nor PyTorch's own index has a CPU build. ``said``: output of uv."""
    if re.search(NO_NETWORK, said):
        theirs = "cannot be reached"
    elif re.search(NO_FILE, said):
        theirs = "has none"
    else:
        return environment.failure("installing torch", said)
    return InstallError(
        f"no CPU build of torch {version} for Python {sys.version_info[0]}.{sys.version_info[1]} was "
        "found: the index of "
        f"pip has none, and PyTorch's own index {theirs}: make one of them reachable, name a folder "
        "that has the file "
        "(`PIP_FIND_LINKS=FOLDER make install`), or use the default build of several GB (`make "
        "install TORCH=any`); "
        f"all output is in {environment.log}"
    )


def pinned(build: str, environment: Environment) -> None:
    """Install the packages of the lock, and Gristmill itself (except for the docs build).

    This uses no resolver and builds no package except Gristmill and :data:`BUILT`.
    """
    lock = locks.path(build)
    print(f"installing the packages of {lock.relative_to(ROOT)}", flush=True)
    uv = _uv(environment)
    environment.run(
        "installing the packages of the lock",
        [
            *(*uv, "--no-deps", "--require-hashes", "-r", str(lock)),
            *("--only-binary", ":all:", "--no-binary", BUILT, "--no-build-isolation-package", BUILT),
        ],
    )
    if build == "docs":
        return
    environment.run(
        "installing Gristmill", [*uv, "--no-deps", "--no-build-isolation", "--editable", str(ROOT)]
    )


def newest(environment: Environment) -> None:
    """Install the newest version of everything except torch, and print the differences from the lock."""
    print("installing the newest versions", flush=True)
    bounds = environment.venv / "lifted.txt"
    bounds.write_text("\n".join([*locks.lifted(), f"torch=={torch_version()}"]) + "\n")
    left_out = str(REQUIREMENTS / "left-out.txt")
    options = ["--overrides", str(bounds), "--excludes", left_out, "--editable", f"{ROOT}[cpu,dev]"]
    environment.run("installing the newest versions", [*_uv(environment), *options])
    pins = dict(re.findall(r"^([\w.-]+)==([^\s;]+)", locks.path("cpu").read_text(), re.MULTILINE))
    for name, version in sorted(_installed(environment).items()):
        if name in pins and pins[name] != version:
            print(f"newer than the lock: {name} {version} (pinned: {pins[name]})")


def torch_version() -> str:
    return re.search(r"^torch==(\S+)$", (REQUIREMENTS / "torch.txt").read_text(), re.MULTILINE).group(1)


def _installed(environment: Environment) -> dict:
    """Normalized name -> version of every installed package."""
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
        "--torch", choices=("cpu", "any"), default="cpu", help="any: accept torch's default build"
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
