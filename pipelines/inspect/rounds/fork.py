"""``gristmill loop fork``: a new run that begins from a round of another."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from ....contracts.durable import kind
from ....contracts.errors import GristmillError
from ...store.beginning import write_beginning
from ...store.files import disk
from ...store.products import read_products
from ...store.round_records import FOLDER, read
from ...store.run_directory import RoundRecord, RunDirectory
from ...store.step_store import StepStore

#: Ends the name of the folder that a fork is made in, before it is renamed.
UNFINISHED = ".fork"


def fork(run: RunDirectory, number: int, into: Path) -> Path:
    """Make the run ``into``, which begins after round ``number`` of ``run``; return its pipeline file.

    The rounds up to that one are copied with the rows, weights and records of their steps, and are never run
    again: what comes after them may have an edited file. Raises GristmillError if the round is not over, if
    one of them was planned again since it was over, or if there is something at ``into``.
    """
    if kind(into) != "nothing":
        raise GristmillError(f"{into} exists: name a directory for the new run that does not")
    rounds = [each for each in run.rounds() if each.number <= number]
    last = _last(run, rounds, number)
    for each in rounds:
        _same_plan(run, each)
    made = into.with_name(into.name + UNFINISHED)
    with disk(made, "cannot make the fork"):
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True)
        for name in ("run.json", "spec.yaml"):
            if kind(run.path / name) != "nothing":
                shutil.copy2(run.path / name, made / name)
        for each in rounds:
            shutil.copytree(run.path / "rounds" / str(each.number), made / "rounds" / str(each.number))
        (made / "steps").mkdir()
        planned = run.planned_rounds()
        stores = {store.path: store for each in rounds for store in planned[each.number]}
        for folder in stores:
            if kind(folder) == "a folder":
                shutil.copytree(folder, made / "steps" / folder.name)
        (made / FOLDER).mkdir()
        for record in _chain(run, last):
            shutil.copy2(run.path / FOLDER / record, made / FOLDER / record)
        without = _copy_exports(run, stores.values(), made)
    # The time of rounds that come after is not this run's, nor is how its last session ended.
    RunDirectory(made).write_seconds(sum(float(store.manifest["seconds"]) for store in stores.values()))
    write_beginning(made, run.path.resolve(), number, last, without)
    with disk(into, "cannot make the fork"):
        made.rename(into)
    return into / "spec.yaml"


def _chain(run: RunDirectory, last: str) -> Iterator[str]:
    """The files of the record of a round and of those before it."""
    record: str | None = last
    while record is not None:
        yield f"{record}.json"
        record = read(run.path, record)["parent"]


def _copy_exports(run: RunDirectory, stores: Iterable[StepStore], made: Path) -> list[str]:
    """Copy what steps wrote outside their folders; return the paths of what a later round has replaced."""
    copied: dict[str, bool] = {}
    for store in stores:
        for product in read_products(store.manifest["products"]):
            to = made / product.path
            if Path(product.path).is_absolute() or to.is_relative_to(made / "steps"):
                continue
            if product.holds(run.path):
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(product.place(run.path), to)
                copied[product.path] = True
            copied.setdefault(product.path, False)
    return [path for path, there in copied.items() if not there]


def _last(run: RunDirectory, rounds: list[RoundRecord], number: int) -> str:
    """The id of the record of round ``number``."""
    found = next((each for each in rounds if each.number == number), None)
    if found is None:
        begun = ", ".join(str(each.number) for each in run.rounds()) or "none"
        raise GristmillError(f"{run.path} has no round {number}; its rounds are: {begun}")
    if found.result is None:
        raise GristmillError(f"round {number} of {run.path} is not over: run it to its end first")
    if "record" not in found.result:
        raise GristmillError(
            f"round {number} of {run.path} has no record: it was run by an earlier version. Run it again, "
            "which writes the record and repeats nothing"
        )
    return str(found.result["record"])


def _same_plan(run: RunDirectory, each: RoundRecord) -> None:
    """Refuse a round whose plan was written after its result, by a run that did not come to its end."""
    record = str((each.result or {}).get("record", ""))
    made = read(run.path, record)["steps"] if record else {}
    planned = {name: step["fingerprint"] for name, step in each.plan["steps"].items()}
    if planned != {name: step["fingerprint"] for name, step in made.items()}:
        raise GristmillError(
            f"round {each.number} of {run.path} was planned again after it was over, with other steps: run "
            "it to its end first"
        )
