"""Ways to damage a file of a run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

Damage = Callable[[Path], object]


def flipped(share: float) -> Damage:
    """Change one byte at this share of the file's length."""

    def flip(path: Path) -> None:
        data = bytearray(path.read_bytes())
        data[min(int(share * len(data)), len(data) - 1)] ^= 0x5A
        path.write_bytes(data)

    return flip


def replaced(make: Damage) -> Damage:
    """Remove the file and put something else in its place."""

    def replace(path: Path) -> None:
        path.unlink()
        make(path)

    return replace


def sibling(path: Path) -> None:
    """Replace the file by another of the same kind, of the same size if there is one."""
    name = "part-*.parquet" if path.name.startswith("part-") else path.name
    runs = [each for each in path.parents if (each / "steps").is_dir()]
    found = sorted(runs[0].rglob(name)) if runs else []
    others = [each for each in found if each.read_bytes() != path.read_bytes()]
    others.sort(key=lambda each: each.stat().st_size != path.stat().st_size)
    if not others:
        raise FileNotFoundError("it has no sibling")
    shutil.copyfile(others[0], path)


DAMAGES: dict[str, Damage] = {
    "first byte flipped": flipped(0),
    "byte flipped at 20 %": flipped(0.2),
    "byte flipped in the middle": flipped(0.5),
    "byte flipped at 80 %": flipped(0.8),
    "last byte flipped": flipped(1),
    "cut to half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "last byte cut off": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "zeroed": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "emptied": lambda path: path.write_bytes(b""),
    "removed": lambda path: path.unlink(),
    "replaced by a folder": replaced(lambda path: path.mkdir()),
    "replaced by a full folder": replaced(lambda path: (path / "inner").mkdir(parents=True)),
    "replaced by a dangling link": replaced(lambda path: path.symlink_to("/nothing/here")),
    "replaced by a link to itself": replaced(lambda path: path.symlink_to(path.name)),
    "replaced by a link to /dev/zero": replaced(lambda path: path.symlink_to("/dev/zero")),
    "replaced by a link to a file": replaced(lambda path: path.symlink_to("/etc/hostname")),
    "replaced by a pipe": replaced(lambda path: os.mkfifo(path)),
    "replaced by another one of its kind": sibling,
    "without permission": lambda path: path.chmod(0),
}
#: Of records alone.
JSON = {
    f"its JSON is {text}": lambda path, text=text: path.write_text(text)
    for text in ("[]", "{}", "null", "1", '"x"', '{"steps": []}')
}
#: Foreign files next to a file.
STRAYS: dict[str, Damage] = {
    "a stray file": lambda path: (path.parent / ".DS_Store").write_bytes(b"Bud1"),
    "a stray folder": lambda path: (path.parent / "999x").mkdir(),
    "a stray pipe": lambda path: os.mkfifo(path.parent / "pipe"),
    "a stray part": lambda path: shutil.copyfile(
        path, path.parent / "part-000000000900-000000000901.parquet"
    ),
}
STRAY_NAMES = (".DS_Store", "999x", "pipe", "part-000000000900-000000000901.parquet")
