"""The ledger of a step or a part: its row counts, which account for every input row."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from ...contracts.errors import StoreError


@dataclass(frozen=True, slots=True)
class Ledger:
    """Row counts: ``rows_in`` input rows and ``made`` output records, each with one fate.

    A step that annotates makes one record per input row, so rows_in = kept + filtered + failed. A
    step that makes rows (several samples per prompt) makes at least one record for every input row,
    and made = kept + filtered + failed.
    """

    rows_in: int = 0
    made: int = 0
    kept: int = 0
    filtered: int = 0
    failed: int = 0

    def __add__(self, other: Ledger) -> Ledger:
        return Ledger(
            self.rows_in + other.rows_in,
            self.made + other.made,
            self.kept + other.kept,
            self.filtered + other.filtered,
            self.failed + other.failed,
        )

    def as_dict(self) -> dict[str, int]:
        return asdict(self)

    def check(self, step: str, *, one_to_one: bool) -> None:
        """Raise StoreError if the counts do not add up."""
        if self.kept + self.filtered + self.failed != self.made:
            raise StoreError(
                f"the ledger does not add up: kept {self.kept} + filtered {self.filtered} + failed "
                f"{self.failed} "
                f"is not the {self.made} rows made",
                step=step,
            )
        if one_to_one and self.made != self.rows_in:
            raise StoreError(
                f"the ledger does not add up: {self.rows_in} rows came in and {self.made} came out", step=step
            )
