"""Reading and writing of a model's safetensors files, one tensor at a time."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from ...contracts.chat_templates import FOLDER
from ...contracts.errors import ModelError
from .checkpoint_tensors import BUFFERS, INDEX, SINGLE, stored_tensors

#: Files that hold weights, which are not copied to a directory with new weights.
WEIGHT_FILES = (".safetensors", ".bin", ".gguf", ".pt", ".pth", ".index.json")
#: Names of torch's dtypes in safetensors.
TYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
SHARD_BYTES = 5 * 10**9


class TensorReader:
    """Reads the tensors of the model in directory ``path`` by name. Use it as a context manager.

    ``files``: maps each tensor name to the file that holds it. ``stored``: their types and shapes. Raises
    ModelError for files that cannot be read or names that do not exist.
    """

    def __init__(self, path: Path, device: str = "cpu") -> None:
        self.path, self.device = path, device
        self._stack = ExitStack()
        self._opened: dict[str, Any] = {}
        self.stored = stored_tensors(path)
        self.files = {name: stored.file for name, stored in self.stored.items()}
        self._read: set[str] = set()

    def __enter__(self) -> TensorReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def __contains__(self, name: str) -> bool:
        return name in self.files

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names, sorted by file, so that each file is read in one pass."""
        return iter(sorted(self.files, key=lambda name: (self.files[name], name)))

    def get(self, name: str) -> Tensor:
        from safetensors import SafetensorError, safe_open

        if name not in self.files:
            raise ModelError(f"{self.path}: the checkpoint has no tensor {name!r}; is it complete?")
        self._read.add(name)
        file = self.files[name]
        try:
            if file not in self._opened:
                opened = safe_open(self.path / file, framework="pt", device=self.device)
                self._opened[file] = self._stack.enter_context(opened)
            tensor: Tensor = self._opened[file].get_tensor(name)
        except (OSError, SafetensorError) as error:
            raise ModelError(f"{self.path}: cannot read {name!r} from {file} ({error})") from None
        return tensor

    def check_all_read(self) -> None:
        """Raise ModelError, naming tensors, if there are some that nobody read.

        A model with such a tensor is not the one that was loaded. Buffers that follow from the config are
        not read by anyone.
        """
        unread = [name for name in self if name not in self._read and not BUFFERS.fullmatch(name)]
        if unread:
            more = f" and {len(unread) - 3} more" if len(unread) > 3 else ""
            raise ModelError(
                f"{self.path}: the checkpoint has tensors that training would leave out: "
                f"{', '.join(unread[:3])}{more}; is it a model of another kind than config.json says?"
            )


class TensorWriter:
    """Writes a model's tensors to ``directory``, one at a time, so that memory holds only one tensor.

    A safetensors file starts with a table of all offsets and needs aligned values. Therefore tensors are
    spooled to one file per element size and joined, largest element size first, when a shard is full.
    ``digests``: maps each tensor name to the digest of what was written.
    """

    def __init__(self, directory: Path, shard_bytes: int = SHARD_BYTES) -> None:
        self.directory, self.shard_bytes = directory, shard_bytes
        self.digests: dict[str, str] = {}
        self._shards: list[tuple[Path, list[str]]] = []
        self._total = 0
        self._open()

    def _open(self) -> None:
        self._spools: dict[int, IO[bytes]] = {}
        for size in (8, 4, 2, 1):
            self._spools[size] = tempfile.TemporaryFile(dir=self.directory)  # noqa: SIM115 (closed with its shard)
        self._places: dict[int, list[tuple[str, str, list[int], int]]] = {8: [], 4: [], 2: [], 1: []}
        self._bytes = 0

    def put(self, name: str, tensor: Tensor) -> None:
        """Append ``tensor``. Raises ModelError for a dtype that is not supported."""
        if tensor.dtype not in TYPES:
            raise ModelError(f"cannot write {name!r} of type {tensor.dtype}")
        if self._bytes and self._bytes + tensor.nbytes > self.shard_bytes:
            self._close()
            self._open()
        raw = _raw(tensor)
        self.digests[name] = blake2b(raw, digest_size=16).hexdigest()
        size = tensor.element_size()
        self._spools[size].write(raw)
        self._places[size].append((name, TYPES[tensor.dtype], list(tensor.shape), tensor.nbytes))
        self._bytes += tensor.nbytes
        self._total += tensor.nbytes

    def _close(self) -> None:
        table: dict[str, Any] = {"__metadata__": {"format": "pt"}}
        at = 0
        for places in self._places.values():
            for name, kind, shape, count in places:
                table[name] = {"dtype": kind, "shape": shape, "data_offsets": [at, at + count]}
                at += count
        header = json.dumps(table, separators=(",", ":")).encode()
        header += b" " * (-len(header) % 8)
        path = self.directory / f"shard-{len(self._shards)}.part"
        with path.open("wb") as file:
            file.write(len(header).to_bytes(8, "little") + header)
            for spool in self._spools.values():
                spool.seek(0)
                shutil.copyfileobj(spool, file, 1 << 20)
                spool.close()
            file.flush()
            os.fsync(file.fileno())
        self._shards.append((path, [name for name in table if name != "__metadata__"]))

    def finish(self) -> None:
        """Close the last shard and give all shards their names. Several shards get an index."""
        self._close()
        count = len(self._shards)
        if count == 1:
            self._shards[0][0].rename(self.directory / SINGLE)
            return
        files: dict[str, str] = {}
        for number, (path, names) in enumerate(self._shards, 1):
            final = f"model-{number:05d}-of-{count:05d}.safetensors"
            path.rename(self.directory / final)
            files |= dict.fromkeys(names, final)
        index = {"metadata": {"total_size": self._total}, "weight_map": dict(sorted(files.items()))}
        (self.directory / INDEX).write_text(json.dumps(index, indent=2) + "\n")


def content_digest(tensors: Mapping[str, Tensor]) -> str:
    """Return a digest of names, dtypes, shapes and values: 32 hex digits."""
    whole = blake2b(digest_size=16)
    for name, tensor in sorted(tensors.items()):
        whole.update(f"{name} {TYPES[tensor.dtype]} {list(tensor.shape)}\n".encode())
        whole.update(_raw(tensor))
    return whole.hexdigest()


def check_place(
    out: Path, reads: Iterable[Path], *, what: str = "a model", mark: str = "config.json"
) -> None:
    """Raise ModelError if writing to ``out`` would overwrite its inputs or anything else.

    ``what``: what is written, and may be replaced. ``mark``: the file by which it is known.
    """
    place = out.resolve()
    for path in reads:
        read = path.resolve()
        if place == read or place in read.parents:
            raise ModelError(f"{out}: writing there would overwrite the input {path}: give another directory")
    if place.exists() and not place.is_dir():
        raise ModelError(f"{out}: this is a file: give a directory to write {what} to")
    if place.is_dir() and any(place.iterdir()) and not (place / mark).is_file():
        raise ModelError(f"{out}: this directory holds something other than {what}; give an empty directory")


def check_written(directory: Path, digests: dict[str, str]) -> None:
    """Read back every tensor in ``directory`` and compare it with ``digests``.

    Raises ModelError if a tensor is missing, unexpected or different.
    """
    with TensorReader(directory) as reader:
        if set(reader.files) != set(digests):
            apart = sorted(set(reader.files) ^ set(digests))
            raise ModelError(
                f"{directory}: the written tensors are not the expected ones: {', '.join(apart[:3])}"
            )
        for name in reader:
            if blake2b(_raw(reader.get(name)), digest_size=16).hexdigest() != digests[name]:
                raise ModelError(f"{directory}: {name} read back is not what was written; check the disk")


def copy_rest(source: Path, directory: Path) -> None:
    """Copy everything of a model directory except weights: the config, the tokenizer, the chat templates."""
    for file in sorted(source.iterdir()):
        if file.is_file() and not file.name.endswith(WEIGHT_FILES):
            shutil.copyfile(file, directory / file.name)
    if (source / FOLDER).is_dir():
        shutil.copytree(source / FOLDER, directory / FOLDER, copy_function=shutil.copyfile)


def _raw(tensor: Tensor) -> memoryview:
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data
