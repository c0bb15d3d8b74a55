"""A pipeline made in Python, from a dict or by calls, with data and functions of the same program."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from ...contracts.errors import DataError, GristmillError
from ...contracts.user_function import is_live, reference_of
from .data import as_table, is_data, written

if TYPE_CHECKING:
    from ..api import Run
    from ..inspect.preview import PreviewedStep
    from .planning import PlannedRun


class Pipeline:
    """A pipeline file in the making.

    It holds what a file says, as a dict, and takes in addition: an Arrow table, a pandas or polars frame, a
    Hugging Face data set or a list of dicts as a ``source``, and a function as ``map`` or ``source``.

        pipeline = gristmill.Pipeline("short")
        pipeline.step("rows", source=frame)
        pipeline.step("kept", keep="len(prompt) < 200", from_="rows")
        run = pipeline.run()
        run["kept"].to_pandas()

    ``document``: the content of a file, or the pipeline's name. ``sections``: sections of the file, such as
    ``seed=1`` or ``budget={"usd": 5}``.
    """

    def __init__(self, document: Mapping[str, Any] | str = "pipeline", **sections: Any) -> None:
        given = {"name": document} if isinstance(document, str) else dict(document)
        self.document: dict[str, Any] = {"gristmill": 1, "name": "pipeline", **given, **sections}
        for section in ("models", "steps"):
            self.document[section] = dict(self.document.get(section) or {})

    def model(self, name: str, **keys: Any) -> Pipeline:
        """Add a model: ``pipeline.model("base", path="smollm2-135m-instruct")``. Returns the pipeline."""
        return self._add("models", name, keys)

    def step(self, name: str, **keys: Any) -> Pipeline:
        """Add a step, its verb first: ``pipeline.step("kept", keep="passed", from_="checked")``.

        A trailing underscore belongs to names that are words of Python: ``from_``. Returns the pipeline.
        """
        return self._add("steps", name, {key.rstrip("_"): value for key, value in keys.items()})

    def _add(self, section: str, name: str, keys: Mapping[str, Any]) -> Pipeline:
        if name in self.document[section]:
            raise GristmillError(f"there is {section[:-1]} {name!r} already: give this one another name")
        self.document[section][name] = dict(keys)
        return self

    def write(self, file: str | Path) -> Path:
        """Write the pipeline file, and its data next to it. Returns the file's path.

        Raises GristmillError for a value that no file can hold.
        """
        import yaml

        path = Path(file)
        path.parent.mkdir(parents=True, exist_ok=True)
        plain = _plain(self.document, path.parent, ())
        path.write_text(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True), encoding="utf-8")
        return path

    def plan(self, run: str | Path | None = None) -> PlannedRun:
        """What a run would do, reuse and cost. Raises SpecError, with all mistakes that show before a run."""
        from .planning import plan_file

        return plan_file(self._written(run), run)

    def run(self, run: str | Path | None = None, **options: Any) -> Run:
        """Run the pipeline to its end; resume if its run directory already holds results.

        ``options``: those of :func:`gristmill.run`. Raises GristmillError as that does.
        """
        from ..api import run as run_file

        if options.get("executor") == "ray" and (name := next(iter(self._live()), None)):
            raise GristmillError(
                f"the function {name!r} exists only in this program, and a Ray cluster cannot import it: "
                "write it into a module next to the notebook, and import it from there"
            )
        return run_file(self._written(run), run, **options)

    def preview(self, rows: int = 8, *, engine: str | None = None) -> list[PreviewedStep]:
        """Run the data steps over the first ``rows`` rows of each source: see :func:`gristmill.preview`."""
        from ..inspect.preview import preview

        return preview(self._written(None), rows, engine=engine)

    def _written(self, run: str | Path | None) -> Path:
        place = Path(run or self.document.get("out") or Path("runs") / str(self.document["name"]))
        return self.write(place.with_name(f"{place.name}.pipeline") / "pipeline.yaml")

    def _live(self) -> list[str]:
        """The functions that exist only in this program."""
        keys = [value for step in self.document["steps"].values() for value in _values(step)]
        return [reference_of(each) for each in keys if callable(each) and is_live(reference_of(each))]

    def __repr__(self) -> str:
        return f"Pipeline({self.document['name']!r}, steps={list(self.document['steps'])})"


def _values(step: Any) -> list[Any]:
    return list(step.values()) if isinstance(step, Mapping) else []


def _plain(value: Any, folder: Path, path: tuple[str, ...]) -> Any:
    """A value as a file holds it: data is written into ``folder``, a function becomes its name."""
    if isinstance(value, Mapping):
        if is_data(value.get("source")):
            try:
                file = written(as_table(value["source"]), folder)
            except DataError as error:
                raise DataError(f"{'.'.join((*path, 'source'))}: {error.message}") from error
            value = {"source": "parquet", "path": str(file.absolute()), **_without(value, "source")}
        return {str(key): _plain(inner, folder, (*path, str(key))) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner, folder, path) for inner in value]
    if isinstance(value, PurePath):
        return str(value)
    if callable(value):
        return reference_of(value)
    if value is None or isinstance(value, (str, int, float, bool)):
        return deepcopy(value)
    raise GristmillError(f"{'.'.join(path)}: a pipeline cannot hold a {type(value).__name__}")


def _without(value: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {name: each for name, each in value.items() if name != key}
