"""Resolves a model reference to weights on the local disk.

A reference is a name of the catalogue (``smollm2-135m-instruct``), a directory in the Hugging Face
layout, a directory with a PEFT adapter, a ``.gguf`` file, or a Hugging Face id (``org/name`` or
``org/name@revision``). Paths are relative to ``base``, the working directory unless it is given.
"""

from __future__ import annotations

import json
import os
import shlex
from hashlib import blake2b
from pathlib import Path

from ...contracts import chat_templates
from ...contracts.errors import ModelError
from ...contracts.inference import ModelWeights
from ...contracts.nearest import did_you_mean
from ...contracts.unmerged import SETTINGS as UNMERGED
from ...contracts.unmerged import unmerged_settings
from . import download, hub
from .cache import CachedModel, cached, commit, discard, file_digest, place, workplace
from .catalogue import PACKAGED, Gguf, PackagedModel
from .convert import CONVERTER, convert
from .progress import FetchProgress, silent

#: The files of a model directory that affect what it computes.
CONTENT = (
    "*.safetensors", "*.json", "*.txt", "*.model", "*.jinja", f"{chat_templates.FOLDER}/*.jinja",
)  # fmt: skip
#: Of those, the files that tools add to a model without changing it.
ASIDE = frozenset({"gristmill.json", "trainer_state.json", "all_results.json", "train_results.json"})
#: Settings of what the trainer writes and no engine loads -> what it is, for messages.
CHANGES = {
    "own_adapter.json": "an adapter in a layout of its own",
    "sparse_delta.json": "a sparse change of a model's weights",
    "ternary_delta.json": "a compressed change of a model's weights",
}


def digest(reference: str, base: Path | None = None) -> str:
    """The digest of the content of ``reference``. Downloads nothing; the result is cached.

    64 hex digits for a packaged model, 32 for a path. A Hugging Face id gives ``hub:ID@COMMIT``
    if the local hub cache knows the commit, else ``hub:ID@REVISION``: download it before a plan is
    recorded. Raises ModelError if the reference is unknown.
    """
    if reference in PACKAGED:
        return PACKAGED[reference].digest
    path = local_path(reference, base)
    if path is None:
        return hub.digest(_hub_id(reference))
    if path.suffix == ".gguf":
        return _gguf_digest(path)
    own = _directory_digest(path)
    if _is_adapter(path):
        return blake2b(f"{own}|{digest(_base_of(path), path)}".encode(), digest_size=16).hexdigest()
    return own


def adapter_digest(reference: str, base: Path | None = None) -> str:
    """The digest (32 hex digits) of an adapter's own content, without its base.

    Raises ModelError if ``reference`` is not a directory with an adapter.
    """
    path = local_path(reference, base)
    if path is None or not _is_adapter(path):
        raise ModelError(f"{reference!r} is not an adapter: give a directory that holds adapter_config.json")
    return _directory_digest(path)


def exists(reference: str, base: Path | None = None) -> bool:
    """Are the weights on this machine, ready to load?"""
    return on_disk(reference, base) is not None


def on_disk(reference: str, base: Path | None = None) -> Path | None:
    """The directory of the weights if they are on this machine, ready to load; for an adapter, its base's."""
    path = None if reference in PACKAGED else local_path(reference, base)
    if reference in PACKAGED:
        ready = place(reference, PACKAGED[reference].digest)
    elif path is None:
        return hub.snapshot(_hub_id(reference))
    elif path.suffix == ".gguf":
        ready = place(path.stem, _gguf_digest(path))
    else:
        return on_disk(_base_of(path), path) if _is_adapter(path) else path
    return ready if ready.is_dir() else None


def fetch(reference: str, progress: FetchProgress | None = None, base: Path | None = None) -> Path:
    """The directory of the weights in the Hugging Face layout, downloaded or converted first if need be.

    For an adapter it is the directory of its base. Raises ModelError, with a fix, if the weights
    are not available; no partial files are left.
    """
    report = progress or silent
    if reference in PACKAGED:
        return _fetch_packaged(PACKAGED[reference], report)
    path = local_path(reference, base)
    if path is None:
        return hub.fetch(_hub_id(reference), report)
    if path.suffix == ".gguf":
        return _convert_file(path, report)
    if _is_adapter(path):
        return fetch(_base_of(path), progress, path)
    _directory_digest(path)
    return path


def resolve(reference: str, progress: FetchProgress | None = None, base: Path | None = None) -> ModelWeights:
    """The weights on disk and their digest; if ``reference`` is an adapter, those of its base with the
    adapter.
    """
    path = fetch(reference, progress, base)
    local = None if reference in PACKAGED else local_path(reference, base)
    adapter = local if local is not None and _is_adapter(local) else None
    return ModelWeights(name=reference, path=path, digest=digest(reference, base), adapter=adapter)


def remove(name: str) -> list[CachedModel]:
    """Remove a model from the cache by its name; returns the removed model."""
    found = [model for model in cached() if model.name == name]
    if not found:
        names = [model.name for model in cached()]
        raise ModelError(f"{name!r} is not in the cache; it holds: {', '.join(names) or 'nothing'}")
    for model in found:
        discard(model.path)
    return found


def local_path(reference: str, base: Path | None = None) -> Path | None:
    """The directory or ``.gguf`` file of a reference, or None if it is not a path.

    Raises ModelError if it can only be a path and nothing is there.
    """
    # os.path, unlike pathlib, accepts any text: a name that is too long or an unknown ~user just does not
    # exist.
    if "\0" in reference:
        raise ModelError(f"the model reference {reference!r} holds a null character")
    path = Path(os.path.join(base or Path.cwd(), os.path.expanduser(reference)))
    if reference and (os.path.isdir(path) or (path.suffix == ".gguf" and os.path.isfile(path))):
        return path.resolve()
    if reference.startswith((".", "/", "~")) or reference.endswith(".gguf") or reference.count("/") > 1:
        raise ModelError(
            f"the model {reference!r} looks like a path and {path} is not there: give a directory that "
            f"holds config.json and *.safetensors, a .gguf file, or one of {', '.join(PACKAGED)}"
        )
    return None


def _hub_id(reference: str) -> hub.HubId:
    """Parse ``org/name[@revision]``. Raises ModelError with the closest known name if it does not match."""
    found = hub.HubId.parse(reference)
    if found is None:
        raise ModelError(
            f"unknown model {reference!r}{did_you_mean(reference, PACKAGED) or '.'} Give one of "
            f"{', '.join(PACKAGED)}, "
            "a path (./my-model), or a Hugging Face id (org/name)"
        )
    return found


def _fetch_packaged(model: PackagedModel, progress: FetchProgress) -> Path:
    target = place(model.name, model.digest)
    if target.is_dir():
        return target
    # The unpacked packages, one more being unpacked by pip, the joined file and the converted model.
    room = 2 * model.source_bytes + model.stored_bytes + model.source_bytes // len(model.packages)
    with workplace(model.name, room, progress) as work:
        if target.is_dir():  # another process made it while this one waited
            return target
        made = work / "model"
        download.clear(made)
        folders = download.unpack(model, work, progress)
        if isinstance(model.source, Gguf):
            joined = work / f"{model.name}.gguf"
            download.join(model.source, folders, joined, progress)
            progress("converting", 0, 1)
            convert(joined, made)
            progress("converting", 1, 1)
        else:
            download.copy(model.source, folders, made, progress)
        origin = model.packages[0] if len(model.packages) == 1 else f"{model.packages[0]} and the other parts"
        size = download.size_of(made)
        commit(made, CachedModel(model.name, target, model.digest, model.licence, origin, size))
    return target


def _convert_file(source: Path, progress: FetchProgress) -> Path:
    """A user's own GGUF file, converted into the cache once per content."""
    named = _gguf_digest(source)
    target = place(source.stem, named)
    if target.is_dir():
        return target
    with workplace(source.stem, 4 * source.stat().st_size, progress) as work:
        if target.is_dir():
            return target
        made = work / "model"
        download.clear(made)
        progress("converting", 0, 1)
        convert(source, made)
        progress("converting", 1, 1)
        size = download.size_of(made)
        commit(made, CachedModel(source.stem, target, named, "unknown", str(source), size))
    return target


def _gguf_digest(path: Path) -> str:
    return blake2b(f"{file_digest(path)}|converter {CONVERTER}".encode(), digest_size=16).hexdigest()


def _directory_digest(path: Path) -> str:
    """The digest of a model's (or an adapter's) files: names and bytes, without paths and times."""
    settings = path / (_adapter_settings(path) or "config.json")
    if not (settings.is_file() or (path / "modules.json").is_file()):
        raise ModelError(_no_model(path))
    # A sentence-transformers model stores its pooling in subfolders.
    find = path.rglob if (path / "modules.json").is_file() else path.glob
    files = sorted({found for pattern in CONTENT for found in find(pattern) if found.name not in ASIDE})
    if not any(file.suffix == ".safetensors" for file in files):
        raise ModelError(
            f"{path} holds no *.safetensors: save the model with save_pretrained(), which writes them"
        )
    whole = blake2b(digest_size=16)
    for file in files:
        whole.update(f"{file.relative_to(path).as_posix()} {file_digest(file)}\n".encode())
    return whole.hexdigest()


def _no_model(path: Path) -> str:
    """Why a directory without a model's settings is no model, and the fix."""
    name = next((name for name in CHANGES if (path / name).is_file()), None)
    if name is None:
        return f"{path} is not a model: it contains neither config.json nor adapter_config.json"
    try:
        base = str(json.loads((path / name).read_text())["base_model_name_or_path"])
    except (OSError, ValueError, KeyError, TypeError):
        base = "BASE"
    return (
        f"{path} is {CHANGES[name]} ({name}), which engines and exports do not read: merge it into its base "
        f"with `gristmill merge {shlex.quote(base)} {shlex.quote(str(path))} --out DIR`, and name DIR"
    )


def _is_adapter(path: Path) -> bool:
    return _adapter_settings(path) is not None


def _adapter_settings(path: Path) -> str | None:
    """The file with the settings of an adapter that an engine can load; None for another directory."""
    if (path / "config.json").is_file():
        return None
    if (path / "adapter_config.json").is_file():
        return "adapter_config.json"
    return None if unmerged_settings(path) is None else UNMERGED


def _base_of(adapter: Path) -> str:
    """The reference of the model that an adapter was trained on, as recorded by PEFT."""
    file = adapter / (_adapter_settings(adapter) or "adapter_config.json")
    settings = json.loads(file.read_text())
    base, revision = settings.get("base_model_name_or_path"), settings.get("revision")
    if not base:
        raise ModelError(f"{file} does not name its base_model_name_or_path")
    return f"{base}@{revision}" if revision and local_path(str(base), adapter) is None else str(base)
