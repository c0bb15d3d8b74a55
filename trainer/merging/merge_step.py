"""``merge:`` steps: models of one base are merged into one that other steps can name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, FiniteFloat, model_validator

from ...contracts.context import Context
from ...contracts.errors import DataError, ModelError
from ...contracts.operators import Estimate
from ...contracts.training import Merge, Trained
from .source_weights import DENSITY, OUTLIERS, why_not, why_unread

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

#: The names that ``trainer/merging/methods.py`` maps to functions. A test checks that both agree.
MergeMethod = Literal["task-arithmetic", "soup", "ties", "dare", "model-stock", "breadcrumbs"]


class MergeStep(Merge):
    """Merges models of one base into one, which other steps can name: to generate with it, to train or to
    measure it.

    A student that an engine cannot load, such as a change of the weights, is served like this.

    Example:
        merged: {merge: ties, model: base, students: [code, math], density: 0.2}
    """

    value_field: ClassVar[str | None] = "method"

    method: MergeMethod = "task-arithmetic"
    """How the changes of the models are combined: `task-arithmetic` adds them (arXiv 2212.04089), `soup`
    takes their mean (arXiv 2203.05482), `ties` the mean of those that agree in sign (arXiv 2306.01708),
    `dare` drops and rescales entries first (arXiv 2311.03099), `model-stock` shortens the mean by the angles
    between them (arXiv 2403.19522), `breadcrumbs` adds them without their largest and smallest entries (arXiv
    2312.06795)."""
    weights: tuple[FiniteFloat, ...] | None = None
    """A weight for each of `students`. By default 1 each. `soup` and `ties` take means, so only the ratios of
    the weights count there. With `ties`, a negative weight counts the opposite change."""
    density: float = Field(default=DENSITY, gt=0, le=1)
    """Share of each tensor's change that `ties`, `dare` and `breadcrumbs` keep."""
    outliers: float = Field(default=OUTLIERS, ge=0, lt=1)
    """Share of each change, its largest entries, that `breadcrumbs` drops."""
    depth_scale: tuple[float, float] = (1.0, 1.0)
    """Factors of the merged change in the first block and in the last, with those between on a line (LiNeS,
    arXiv 2410.17146). With `[0.3, 1]`, early blocks stay closer to `model`. The embeddings have the first
    factor, the final norm and the head the last. Works with every method."""
    into: Literal["original", "trained"] | None = None
    """The weights that the changes are added to: `original`, those of `model`; or `trained`, those that the
    training of the one student held, which gives exactly the trained model. By default `trained` for one
    adapter, otherwise `original`."""

    @model_validator(mode="after")
    def _fitting_weights(self) -> Self:
        if (reason := why_not(self.method, self.weights, len(self.students))) is not None:
            raise ValueError(reason)
        return self

    def check_inputs(self, names: Sequence[str]) -> None:
        if names:
            raise DataError(f"`merge: {self.method}` takes no rows: remove `from`")
        super().check_inputs(names)

    @model_validator(mode="after")
    def _fitting_shares(self) -> Self:
        shares = {"density": self.density, "outliers": self.outliers}
        if (reason := why_unread(self.method, shares)) is not None:
            raise ValueError(reason)
        if self.method == "breadcrumbs" and self.outliers + self.density > 1:
            raise ValueError(
                f"breadcrumbs drops outliers = {self.outliers} of each change and keeps density = "
                f"{self.density}: give shares that add up to at most 1"
            )
        return self

    def estimate(self, rows: int) -> Estimate:
        return Estimate(rows=rows)

    def fit(self, table: pa.Table, context: Context) -> Trained:
        from ..merging.merge import merge

        out = context.workdir / "merged"
        merge(
            base_of(self.model, context),
            [student_of(name, context) for name in self.students],
            out,
            method=self.method,
            weights=self.weights,
            density=self.density,
            outliers=self.outliers,
            depth_scale=self.depth_scale,
            seed=context.seed,
            into=self.into or ("trained" if self._is_one_adapter(context) else "original"),
            progress=lambda done, total: context.progress(done, total, "tensors"),
        )
        return Trained(out, {"merged": list(self.students)}, no_history())

    def _is_one_adapter(self, context: Context) -> bool:
        """Whether the one student has a record of the weights that its training held."""
        from ..adapters.training_record import RECORD

        return len(self.students) == 1 and (student_of(self.students[0], context) / RECORD).exists()


def no_history() -> pa.Table:
    """Return the history of no optimizer steps."""
    import pyarrow as pa

    names: dict[str, Any] = {
        "step": pa.int64(),
        "loss": pa.float64(),
        "lr": pa.float64(),
        "tokens": pa.int64(),
        "seconds": pa.float64(),
        "rows": pa.list_(pa.string()),
        "row_loss": pa.list_(pa.float64()),
    }
    return pa.schema(list(names.items())).empty_table()


def base_of(name: str, context: Context) -> Path:
    """Return the directory of the base. Raises ModelError for an adapter over another model."""
    found = context.weights(name)
    if found.adapter is not None:
        raise ModelError(f"model: {name!r} is an adapter over another model: name that model")
    return found.path


def student_of(name: str, context: Context) -> Path:
    """Return the directory of what is merged: an adapter, a change of the weights, or a whole model."""
    found = context.weights(name)
    return found.adapter or found.path
