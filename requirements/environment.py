"""A virtual environment with the installer, and one clear sentence if an installation step fails.

Runs on any Python 3, so that it can report which version is needed.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS = ROOT / "requirements"
#: The Python versions that pyproject.toml declares and that the locks support.
PYTHONS = ((3, 11), (3, 12), (3, 13))
MACHINES = ("x86_64", "aarch64")

#: Patterns in the output of pip and uv.
DISK_FULL = r"No space left on device|os error 28\b|Disk quota exceeded"
NOT_WRITABLE = r"Permission denied|os error 13\b|Read-only file system|os error 30\b"
NO_NETWORK = (
    r"(?i)error sending request|dns error|failed to resolve|name resolution|connection "
    r"refused|connection reset"
    r"|NewConnectionError|timed out|network is unreachable|certificate|HTTP status (server|client) "
    r"error|ProxyError"
)
NO_FILE = (
    r"(?i)no wheels with a matching|no matching distribution|not find a version|no usable wheels"
    r"|was not found in the package registry|there (is|are) no versions? of|was not found in the provided"
)
#: Pattern in the output of a failed command -> the reason and the fix. The first match counts.
REASONS = (
    (
        DISK_FULL,
        "the disk is full: free space where {venv} and the caches of pip and uv are, and run it again",
    ),
    (
        r"(?i)hash mismatch|do not match the hashes",
        "a downloaded file does not match its hash in the lock: clear the caches (`uv cache clean`, "
        "`pip cache purge`) "
        "and run it again; if it fails again, do not trust the index",
    ),
    (
        NO_NETWORK,
        "a package index cannot be reached: check the network, or the proxy and the index in the "
        "settings of pip and "
        "uv, and run it again",
    ),
    (
        NO_FILE,
        "the index has no file of a pinned package for this Python and machine: name a complete "
        "index in the settings "
        "of pip and uv",
    ),
    (
        NOT_WRITABLE,
        "a file or folder is not writable: make {venv} and the caches of pip and uv writable, and "
        "run it again",
    ),
)


class InstallError(Exception):
    """An installation failed. The text is one sentence with the reason and the fix."""


class Environment:
    """A virtual environment at ``venv``. Its commands are logged to ``install.log`` inside it."""

    def __init__(self, venv: Path) -> None:
        self.venv = venv
        self.python = venv / "bin" / "python"
        self.uv = venv / "bin" / "uv"
        self.log = venv / "install.log"

    def create(self) -> None:
        """Create the environment unless it exists, and install the pinned uv into it."""
        if self._works():
            self._check_python()
        else:
            command = [sys.executable, "-m", "venv", "--clear", str(self.venv)]
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            if done.returncode:
                said = done.stdout.decode(errors="replace")
                raise InstallError(_venv_failed(self.venv, said))
        lock = str(REQUIREMENTS / "installer.lock")
        self.run(
            "installing uv",
            [str(self.python), "-m", "pip", "install", "--no-deps", "--require-hashes", "-r", lock],
        )

    def run(self, what: str, command: list) -> None:
        """Run a command. Raises InstallError with the reason if it fails. ``what``: what the command does."""
        code, said = self.attempt(command)
        if code:
            raise self.failure(what, said)

    def failure(self, what: str, said: str) -> InstallError:
        """The error of a failed command. ``what``: what it was to do; ``said``: its output."""
        return InstallError(f"{what} failed: {self.reason(said)}; all output is in {self.log}")

    def attempt(self, command: list) -> tuple:
        """Run a command and append its output to the log. Returns its exit code and its output."""
        done = subprocess.run(command, cwd=str(ROOT), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        said = done.stdout.decode(errors="replace")
        try:
            with self.log.open("a") as log:
                log.write("$ {}\n{}\n".format(" ".join(command), said))
        except OSError:  # A full disk must not hide the error message.
            pass
        return done.returncode, said

    def reason(self, said: str) -> str:
        """The reason and the fix for a failed command, found in its output ``said``."""
        for pattern, why in REASONS:
            if re.search(pattern, said):
                return why.format(venv=self.venv)
        errors = [
            line.partition(":")[2].strip() for line in said.splitlines() if re.match(r"(?i)error:", line)
        ]
        return errors[-1] if errors else "see its output"

    def site(self) -> Path:
        """The folder of installed packages."""
        found = sorted(self.venv.glob("lib/python3*/site-packages"))
        return found[0] if found else self.venv / "lib"

    def _check_python(self) -> None:
        ours, theirs = "python{}.{}".format(*sys.version_info), self.site().parent.name
        if ours != theirs:
            raise InstallError(
                f"{self.venv} was created with {theirs}, but {sys.executable} is {ours}: use {theirs} "
                f"(`make install PYTHON={theirs}`), choose another folder (`make install "
                f"VENV=.venv-{ours}`), or run "
                "`make clean` first"
            )

    def _works(self) -> bool:
        if not self.python.exists():
            return False
        command = [str(self.python), "-m", "pip", "--version"]
        return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


def check_machine() -> None:
    """Raises InstallError if the locks do not support this Python, operating system or processor."""
    here = sys.version_info[:2]
    if here not in PYTHONS:
        names = ["{}.{}".format(*version) for version in PYTHONS]
        found = next((f"python{name}" for name in reversed(names) if _runs(f"python{name}")), None)
        fix = "install one of these versions" if found is None else "use the version that is installed"
        raise InstallError(
            f"Gristmill needs Python {', '.join(names[:-1])} or {names[-1]}, but {sys.executable} is "
            f"{sys.version.split()[0]}: {fix}, as in `make install PYTHON={found or 'python' + names[-2]}`"
        )
    if not sys.platform.startswith("linux") or os.uname().machine not in MACHINES:
        raise InstallError(
            f"Gristmill needs Linux on {' or '.join(MACHINES)}, but this is {sys.platform} on "
            f"{os.uname().machine}"
        )


def _runs(python: str) -> bool:
    """Whether this command exists and starts. The shim of a version manager exists but may not start."""
    command = [python, "-c", ""]
    quiet = subprocess.DEVNULL
    return (
        shutil.which(python) is not None
        and subprocess.run(command, stdout=quiet, stderr=quiet).returncode == 0
    )


def check_disk(venv: Path, needed: int) -> None:
    """Raises InstallError if fewer than ``needed`` bytes are free for the environment."""
    place = venv if venv.exists() else venv.resolve().parent
    free = shutil.disk_usage(str(place)).free
    if free < needed:
        raise InstallError(
            f"{free / 1e9:.1f} GB are free for {venv}, but about {needed / 1e9:.0f} GB are needed: "
            "free some space, "
            "or choose another folder, as in `make install VENV=/large/disk/venv`"
        )


def _venv_failed(venv: Path, said: str) -> str:
    if "ensurepip" in said:
        return (
            f"{sys.executable} cannot create environments, since its venv package is missing: install it "
            "(on Debian and Ubuntu: apt install python3-venv) and run it again"
        )
    return f"creating {venv} failed: {Environment(venv).reason(said)}"
