"""Runs pytest again and again, each time in a fork of a process that has imported what takes long.

``python tests/mutants/warm_pytest.py MODULE...`` imports the modules and says ``warm``. Then each line of its
input, ``{"arguments": [...], "seconds": 60, "said": "FILE"}``, runs pytest once, with its output in the file,
and is answered by a line: the exit code, or ``null`` where it was stopped after the seconds. It ends, and
stops the pytest that runs, when its input ends.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import select
import signal
import sys
from contextlib import suppress
from pathlib import Path

PYTEST = Path(sys.executable).with_name("pytest")
#: What takes long to import and stays the same through a fork: importing these computes nothing, so that no
#: thread of theirs is running yet, which a fork would lose. Setuptools comes first, as in tests/conftest.py.
MODULES = (
    "setuptools", "pytest", "xdist.plugin", "hypothesis", "numpy", "pyarrow.compute",
    "pyarrow.dataset", "pyarrow.parquet", "pandas", "duckdb", "pydantic", "yaml", "httpx", "jinja2",
    "jsonschema", "rich.console", "fsspec", "psutil", "scipy.optimize", "scipy.sparse", "sklearn.cluster",
    "sklearn.metrics", "sympy", "datasets", "faiss", "safetensors.torch", "tokenizers", "torch",
    "torch.distributed.fsdp", "torch.distributed.tensor", "torch.onnx", "torch.utils.checkpoint",
    "transformers", "transformers.integrations.gguf",
)  # fmt: skip
#: What each test must import itself: the mutated package, what tests/conftest.py decides about, and what does
#: not survive a fork.
NEVER = ("gristmill", "ray", "triton", "vllm")


def warm(modules: list[str]) -> None:
    """Import the modules. Raises RuntimeError where they import one of NEVER."""
    for module in modules:
        importlib.import_module(module)
    if found := [name for name in NEVER if name in sys.modules]:
        raise RuntimeError(f"a fork must not hold {', '.join(found)}")
    gc.collect()
    gc.freeze()


def become_pytest(arguments: list[str], said: str, environment: dict[str, str]) -> None:
    """Run pytest as its script does, in a session of its own. Raises SystemExit, with its exit code."""
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDONLY)
    written = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for source, target in ((nothing, 0), (written, 1), (written, 2)):
        os.dup2(source, target)
    os.close(nothing)
    os.close(written)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [str(PYTEST), *arguments]
    sys.path[0] = str(PYTEST.parent)
    runpy.run_path(str(PYTEST), run_name="__main__")


def wait(pid: int, seconds: float) -> int | None:
    """The exit code of a process, or None after so many seconds. What is left of its group is stopped.

    Raises EOFError where the standard input ends before.
    """
    ended = os.pidfd_open(pid)
    ready, _, _ = select.select([ended, sys.stdin], [], [], seconds)
    os.close(ended)
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:  # it has not come to make its group
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    if sys.stdin in ready:
        raise EOFError
    return os.waitstatus_to_exitcode(status) if ready else None


def serve(modules: list[str]) -> None:
    """Answer each line of the standard input."""
    environment = dict(os.environ)
    with os.fdopen(os.dup(1), "w") as replies:
        os.dup2(2, 1)  # what an import prints is no reply
        warm(modules)
        print("warm", file=replies, flush=True)
        for line in sys.stdin:
            asked = json.loads(line)
            pid = os.fork()
            if pid == 0:
                replies.close()
                become_pytest(asked["arguments"], asked["said"], environment)
            print(json.dumps(wait(pid, asked["seconds"])), file=replies, flush=True)


if __name__ == "__main__":
    with suppress(EOFError):
        serve(sys.argv[1:])
