"""The ledger of a step or a part: every row that came in is accounted for."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from ..errors import StoreError


@dataclass(frozen=True, slots=True)
class Ledger:
    """Counts of rows. ``rows_in`` came in; ``made`` records came out, each with one fate.

    A step that annotates makes one record an input row, so rows in = kept + filtered + failed. A
    step that makes rows (several samples a prompt) accounts for every input row with at least one
    record, and made = kept + filtered + failed.
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
        """Raises StoreError where the counts do not add up."""
        if self.kept + self.filtered + self.failed != self.made:
            raise StoreError(
                f"the ledger does not add up: kept {self.kept} + filtered {self.filtered} + failed {self.failed} "
                f"is not the {self.made} rows made",
                step=step,
            )
        if one_to_one and self.made != self.rows_in:
            raise StoreError(
                f"the ledger does not add up: {self.rows_in} rows came in and {self.made} came out", step=step
            )
