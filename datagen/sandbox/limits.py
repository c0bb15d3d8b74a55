"""Resource limits of one run."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields

MIB = 2**20
KIB = 2**10


#: All limits are below this, in their own units.
HIGHEST = 10**9


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one run and of all the processes that it starts. All are positive.

    ``wall_seconds``: wall time from the start, in seconds. ``cpu_seconds``: processor time of all processes
    together, in seconds. ``memory_mib``: address space of each process, and resident memory of all together,
    in MiB. ``processes``: number of concurrent processes and threads. ``file_mib``: size of one file, in MiB.
    ``scratch_mib``: size of all files in the private /tmp, which is in memory, in MiB. ``output_kib``: size
    of standard output and of standard error, each, in KiB. ``open_files``: file descriptors per process.

    Raises ValueError, naming the limit, if one is not above zero and below :data:`HIGHEST`.
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
            if not 0 < value < HIGHEST:
                raise ValueError(
                    f"{field.name} must be above zero, found {value!r}"
                    if not value > 0
                    else f"{field.name} must be below {HIGHEST:,}, found {value!r}"
                )

    def as_dict(self) -> dict[str, float]:
        return asdict(self)
