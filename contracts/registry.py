"""Finds operators by their names in a pipeline file, and imports only those that are used.

A step is ``{VERB: NAME, ...}`` if the verb has named operators (``dedup: exact``), or
``{VERB: VALUE, ...}`` if it has one operator that takes the value as a parameter
(``keep: "passed"``). Other packages add operators through the entry-point group
``gristmill.operators``: the entry's name is ``verb.name``, its object an Operator class.

Part of the contracts: an operator may refer to another by name (a generator to its ``check``).
"""

from __future__ import annotations

import importlib
from functools import cache
from importlib.metadata import entry_points

from .operators import Operator

ENTRY_POINTS = "gristmill.operators"

#: verb -> what its steps do, in the usual order of a pipeline.
VERBS: dict[str, str] = {
    "source": "Makes rows from files, data sets, packages, repositories, or your own function.",
    "draw": "Adds columns of randomly drawn values.",
    "generate": "Makes new rows, with or without a model.",
    "execute": "Runs a program and adds its output.",
    "map": "Calls your own function on each row, or on tables of rows.",
    "compute": "Adds columns that SQL expressions compute.",
    "render": "Adds text columns that templates make.",
    "unfold": "Turns each of several columns into a row of its own.",
    "verify": "Checks rows and adds the results.",
    "score": "Adds columns that rate each row.",
    "cluster": "Groups rows by what they say.",
    "keep": "Keeps the rows that meet a condition.",
    "dedup": "Removes duplicate and near-duplicate rows.",
    "decontaminate": "Filters rows that share text with evaluation items.",
    "select": "Chooses some of the rows.",
    "pair": "Makes pairs of rows, such as preference pairs.",
    "train": "Trains a model.",
    "evaluate": "Measures a model on held-out items.",
    "export": "Writes rows to files or to the Hugging Face Hub.",
}

#: verb -> name -> "module:Class", the module relative to the package `gristmill`.
NAMED: dict[str, dict[str, str]] = {
    "source": {
        "count": "pipelines.sources:Count",
        "jsonl": "pipelines.sources:Jsonl",
        "parquet": "pipelines.sources:Parquet",
        "dataset": "pipelines.sources:HuggingFaceDataset",
        "git_history": "datagen.sources.git_history:GitHistory",
        "python_functions": "datagen.sources.python_functions:PythonFunctions",
        "constraints": "datagen.sources.constraint_tasks:ConstraintTasks",
    },
    "generate": {
        "attempts": "datagen.generate.attempts:Attempts",
        "bugs": "datagen.generate.bugs:InjectBugs",
        "complete": "datagen.generate.complete:Complete",
        "edit_styles": "datagen.generate.edit_styles:EditStyles",
        "lintseq": "datagen.generate.lintseq:LintSeq",
        "respond": "datagen.generate.respond:Respond",
        "template": "datagen.generate.template:Template",
    },
    "verify": {
        "compiles": "datagen.verify.compiles:VerifyCompiles",
        "constraints": "datagen.verify.constraints:VerifyConstraints",
        "cost": "datagen.verify.cost:VerifyCost",
        "doctests": "datagen.verify.doctests:VerifyDoctests",
        "edit": "datagen.verify.edit:VerifyEdit",
        "number": "datagen.verify.number:VerifyNumber",
        "reference": "datagen.verify.reference:VerifyReference",
        "sound_tests": "datagen.verify.sound_tests:VerifySoundTests",
        "stdio": "datagen.verify.stdio:VerifyStdio",
        "tests": "datagen.verify.tests:VerifyTests",
        "verdict": "datagen.verify.stated_verdict:VerifyVerdict",
    },
    "dedup": {
        "exact": "filters.dedup.exact:ExactDedup",
        "rouge": "filters.dedup.rouge:RougeDedup",
        "semantic": "filters.dedup.semantic:SemanticDedup",
    },
    "pair": {
        "preferences": "filters.pair.preferences:PreferencePairs",
        "twins": "datagen.edits.twins:Twins",
    },
    "select": {
        "agreement": "datagen.execution.agreement:Agreement",
        "best": "filters.select.best:SelectBest",
        "cluster_quota": "filters.select.cluster_quota:ClusterQuota",
        "random": "filters.select.random:RandomSelect",
        "vote": "filters.select.vote:Vote",
    },
    "train": {
        "sft": "trainer.methods.sft:SupervisedFineTuning",
        "cft": "trainer.methods.cft:CritiqueFineTuning",
        "dpo": "trainer.methods.dpo:DirectPreferenceOptimization",
        "orpo": "trainer.methods.orpo:OddsRatioPreferenceOptimization",
        "simpo": "trainer.methods.simpo:SimplePreferenceOptimization",
        "distill": "trainer.methods.distill:Distillation",
        "weak_to_strong": "trainer.methods.weak_to_strong:WeakToStrong",
    },
    "evaluate": {
        "answers": "datagen.evaluate.answers:EvaluateAnswers",
        "constraints": "datagen.evaluate.constraints:EvaluateConstraints",
    },
    "export": {
        "parquet": "pipelines.sinks:ParquetExport",
        "arrow": "pipelines.sinks:ArrowExport",
        "jsonl": "pipelines.sinks:JsonlExport",
        "hub": "pipelines.sinks:HubExport",
    },
}

#: verb -> "module:Class" for verbs whose value is a parameter.
VALUED: dict[str, str] = {
    "draw": "datagen.generate.draw:Draw",
    "execute": "datagen.execution.execute:Execute",
    "map": "pipelines.user_code:UserMap",
    "render": "datagen.generate.render:Render",
    "compute": "filters.expressions.compute:Compute",
    "score": "filters.score.score:Score",
    "cluster": "filters.cluster.cluster:Cluster",
    "unfold": "filters.unfold:Unfold",
    "keep": "filters.expressions.keep:Keep",
    "decontaminate": "filters.dedup.decontaminate:Decontaminate",
}

#: verb -> "module:Class" for a user's own function (`source: my_module:function`).
USER_FUNCTION: dict[str, str] = {"source": "pipelines.user_code:UserSource"}


def load(target: str) -> type[Operator]:
    """The class that ``module:Class`` names, the module relative to this package."""
    module, _, name = target.partition(":")
    loaded = importlib.import_module(f"..{module}", __package__)
    operator: type[Operator] = getattr(loaded, name)
    return operator


@cache
def added() -> dict[str, dict[str, type[Operator]]]:
    """Operators that other installed packages add: verb -> name -> class."""
    found: dict[str, dict[str, type[Operator]]] = {}
    for entry in entry_points(group=ENTRY_POINTS):
        verb, _, name = entry.name.partition(".")
        found.setdefault(verb, {})[name] = entry.load()
    return found


def verbs() -> list[str]:
    """Every verb that a step can start with."""
    return sorted({*NAMED, *VALUED, *added()})


def names(verb: str) -> list[str]:
    """The named operators of a verb; empty if the verb's value is a parameter."""
    return sorted({*NAMED.get(verb, {}), *added().get(verb, {})})


def declared(verb: str, value: object) -> type[Operator] | None:
    """Like :func:`find`, but without loading a user's function; used to list the parameters of a step."""
    return load(VALUED[verb]) if verb in VALUED else find(verb, value)


def find(verb: str, value: object) -> type[Operator] | None:
    """The operator class of a step with ``verb: value``, or None if there is none."""
    if verb in VALUED:
        return load(VALUED[verb]).resolve(value)
    if not isinstance(value, str):
        return None
    if value in added().get(verb, {}):
        return added()[verb][value]
    if value in NAMED.get(verb, {}):
        return load(NAMED[verb][value])
    if ":" in value and verb in USER_FUNCTION:
        return load(USER_FUNCTION[verb])
    return None
