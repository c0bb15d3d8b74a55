"""Locks: the versions and files that `make install` installs, and how they are made.

    make lock       after a change of pyproject.toml or requirements/*.txt; keeps pins that still fit
    make upgrade    takes the newest releases within the bounds of pyproject.toml

The first lines of a lock contain the digest of its inputs, so that a stale lock is detected without a
resolver.
"""

import argparse
import hashlib
import json
import re
import sys
from pathlib import Path

from environment import ROOT, Environment, InstallError, check_machine

DIGEST = re.compile(r"^# inputs: ([0-9a-f]{64})$", re.MULTILINE)

#: lock -> its extras of pyproject.toml, its input files, and options of the compiler.
LOCKS = {
    "installer": ((), ("installer.txt",), ()),
    "cpu": (
        ("cpu", "dev"),
        ("torch.txt", "left-out.txt"),
        (
            *("--overrides", "requirements/torch.txt", "--excludes", "requirements/left-out.txt"),
            *("--no-emit-package", "torch"),
        ),
    ),
    "cuda": (("vllm", "dev"), ("cuda.txt",), ("--constraints", "requirements/cuda.txt")),
    "docs": ((), ("docs.txt",), ()),
}
COMPILE = (
    *("pip", "compile", "--quiet", "--no-header", "--generate-hashes"),
    *("--universal", "--python-version", "3.11", "--fork-strategy", "fewest"),
)


def path(name: str, root: Path = ROOT) -> Path:
    return root / "requirements" / f"{name}.lock"


def digest(name: str, root: Path = ROOT) -> str:
    """SHA-256 (hex) of all inputs of the lock."""
    extras, files, options = LOCKS[name]
    project = {}
    if extras:
        declared = _project(root)
        project = {extra: declared["optional-dependencies"][extra] for extra in extras}
        project.update({key: declared[key] for key in ("requires-python", "dependencies")})
    texts = [(root / "requirements" / file).read_text() for file in files]
    return hashlib.sha256(json.dumps([project, texts, options], sort_keys=True).encode()).hexdigest()


def check(name: str, root: Path = ROOT) -> None:
    """Raises InstallError if the lock is missing or was made from other inputs."""
    lock = path(name, root)
    found = DIGEST.search(lock.read_text()) if lock.is_file() else None
    if found is None or found.group(1) != digest(name, root):
        raise InstallError(
            f"requirements/{name}.lock was not made from this pyproject.toml and requirements/*.txt: "
            "run `make lock`, "
            "or take all of them from one commit"
        )


def compile_lock(name: str, environment: Environment, upgrade: bool) -> None:
    """Write the lock. Without ``upgrade``, pins that still fit stay.

    Raises InstallError if there is no solution.
    """
    extras, files, options = LOCKS[name]
    source = "pyproject.toml" if extras else f"requirements/{files[0]}"
    chosen = [option for extra in extras for option in ("--extra", extra)]
    draft = environment.venv / f"{name}.lock"
    if not upgrade and path(name).is_file():
        draft.write_text(path(name).read_text())
    else:
        draft.unlink(missing_ok=True)
    command = [str(environment.uv), *COMPILE, *chosen, *options, source, "--output-file", str(draft)]
    code, said = environment.attempt(command)
    if code:
        raise InstallError(f"requirements/{name}.lock cannot be made:\n{said.rstrip()}")
    pins = "".join(line for line in draft.open() if not line.startswith("#"))
    head = (
        "# Made by `make lock`; edit pyproject.toml or requirements/*.txt instead.\n# inputs: "
        f"{digest(name)}\n"
    )
    path(name).write_text(head + pins)


def lifted(root: Path = ROOT) -> list:
    """The CPU requirements of pyproject.toml without upper bounds, as lines of a requirements file."""
    declared = _project(root)
    extras = [line for extra in ("cpu", "dev") for line in declared["optional-dependencies"][extra]]
    return [lift(line) for line in [*declared["dependencies"], *extras] if not re.match(r"torch\b", line)]


def lift(requirement: str) -> str:
    """The requirement with only its lower bound: ``a>=1,<2; m`` -> ``a>=1; m``, ``a==1`` -> ``a>=1``."""
    asked, mark, marker = requirement.partition(";")
    name, bounds = re.match(r"\s*([\w.-]+(?:\[[^\]]*\])?)(.*)", asked).groups()
    lower = [bound.strip().replace("==", ">=") for bound in bounds.split(",") if re.match(r"\s*[>=]=", bound)]
    return name + ",".join(lower) + mark + marker


def _project(root: Path) -> dict:
    import tomllib  # Needs Python 3.11; the version has been checked by now.

    return tomllib.loads((root / "pyproject.toml").read_text())["project"]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--into", type=Path, default=Path(".venv"), help="the environment whose uv is used")
    parser.add_argument("--upgrade", action="store_true", help="use the newest versions within bounds")
    arguments = parser.parse_args()
    try:
        check_machine()
        environment = Environment(arguments.into.absolute())
        environment.create()
        for name in LOCKS:
            compile_lock(name, environment, arguments.upgrade)
    except InstallError as failure:
        print(failure, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
