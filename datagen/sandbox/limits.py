"""What one run may use."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields

MIB = 2**20
KIB = 2**10


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one run and of all the processes that it starts. All are positive.

    ``wall_seconds``: from its start. ``cpu_seconds``: of all its processes together. ``memory_mib``: the
    address space of each process, and the resident memory of all together. ``processes``: processes and
    threads at a time. ``file_mib``: the size of one file. ``scratch_mib``: all files in its private /tmp,
    which lie in memory. ``output_kib``: standard output and standard error, each. ``open_files``: file
    descriptors of each process.

    Raises ValueError, naming the limit, where one is not above zero.
    """

    wall_seconds: float = 10.0
    cpu_seconds: float = 5.0
    memory_mib: int = 512
    processes: int = 16
    file_mib: int = 16
    scratch_mib: int = 64
    output_kib: int = 256
    open_files: int = 128

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not value > 0:
                raise ValueError(f"{field.name} must be above zero, found {value!r}")

    def as_dict(self) -> dict[str, float]:
        return asdict(self)
