"""Finds operators by their names in a pipeline file, and imports only those that are used.

A step is ``{VERB: NAME, ...}`` if the verb has named operators (``dedup: exact``), or
``{VERB: VALUE, ...}`` if it has one operator that takes the value as a parameter
(``keep: "passed"``). A verb may have both (``score: likelihood`` is an operator of its own, ``score: length``
is not). Other packages add operators through the entry-point group
``gristmill.operators``: the entry's name is ``verb.name``, its object an Operator class.

Part of the contracts: an operator may refer to another by name (a generator to its ``check``).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import cache
from importlib.metadata import entry_points

from .operators import Operator

ENTRY_POINTS = "gristmill.operators"

#: verb -> what its steps do, in the usual order of a pipeline.
VERBS: dict[str, str] = {
    "source": "Makes rows from files, data sets, documents, packages, repositories, or your own function.",
    "draw": "Adds columns of randomly drawn values.",
    "generate": "Makes new rows, with or without a model.",
    "execute": "Runs a program and adds its output.",
    "map": "Calls your own function on each row, or on tables of rows.",
    "compute": "Adds columns that SQL expressions compute.",
    "render": "Adds text columns that templates make.",
    "unify": "Adds the question and the answer of each row, whatever its layout.",
    "unfold": "Turns each of several columns into a row of its own.",
    "chunk": "Cuts documents into chunks, each a row with its place.",
    "verify": "Checks rows and adds the results.",
    "score": "Adds columns that rate each row.",
    "calibrate": "Turns scores into a probability of being right, from labelled rows.",
    "cluster": "Groups rows by what they say.",
    "keep": "Keeps the rows that meet a condition.",
    "mask": "Leaves turns of conversations out of training.",
    "dedup": "Removes duplicate and near-duplicate rows.",
    "decontaminate": "Filters rows that share text with evaluation items.",
    "select": "Chooses some of the rows.",
    "pair": "Makes pairs of rows, such as preference pairs.",
    "train": "Trains a model.",
    "merge": "Merges models of one base into one.",
    "evaluate": "Measures a model on held-out items.",
    "export": "Writes rows to files or to the Hugging Face Hub.",
}

#: verb -> name -> "module:Class", the module relative to the package `gristmill`.
NAMED: dict[str, dict[str, str]] = {
    "source": {
        "count": "pipelines.sources:Count",
        "jsonl": "pipelines.sources:Jsonl",
        "csv": "pipelines.sources:Csv",
        "parquet": "pipelines.sources:Parquet",
        "dataset": "pipelines.sources:HuggingFaceDataset",
        "documents": "datagen.sources.documents:Documents",
        "git_history": "datagen.sources.git_history:GitHistory",
        "repository": "datagen.sources.repository:RepositoryCode",
        "python_functions": "datagen.sources.python_functions:PythonFunctions",
        "python_tools": "datagen.sources.python_tools:PythonTools",
        "constraints": "datagen.sources.constraint_tasks:ConstraintTasks",
    },
    "generate": {
        "attempts": "datagen.generate.attempts:Attempts",
        "bugs": "datagen.generate.bugs:InjectBugs",
        "complete": "datagen.generate.complete:Complete",
        "edit_styles": "datagen.generate.edit_styles:EditStyles",
        "lintseq": "datagen.generate.lintseq:LintSeq",
        "respond": "datagen.generate.respond:Respond",
        "simulated_user": "datagen.generate.simulated_user:SimulatedUser",
        "template": "datagen.generate.template:Template",
    },
    "verify": {
        "choice": "datagen.verify.choice:VerifyChoice",
        "compiles": "datagen.verify.compiles:VerifyCompiles",
        "constraints": "datagen.verify.constraints:VerifyConstraints",
        "cost": "datagen.verify.cost:VerifyCost",
        "doctests": "datagen.verify.doctests:VerifyDoctests",
        "edit": "datagen.verify.edit:VerifyEdit",
        "json_schema": "datagen.verify.json_schema:VerifyJsonSchema",
        "math": "datagen.verify.math:VerifyMath",
        "number": "datagen.verify.number:VerifyNumber",
        "quote": "datagen.verify.quote:VerifyQuote",
        "reference": "datagen.verify.reference:VerifyReference",
        "sound_tests": "datagen.verify.sound_tests:VerifySoundTests",
        "sql": "datagen.verify.sql:VerifySql",
        "stdio": "datagen.verify.stdio:VerifyStdio",
        "tests": "datagen.verify.tests:VerifyTests",
        "tool_calls": "datagen.verify.tool_calls:VerifyToolCalls",
        "verdict": "datagen.verify.stated_verdict:VerifyVerdict",
    },
    "score": {
        "classify": "filters.score.classify:Classify",
        "code_validity": "filters.score.code_validity:CodeValidity",
        "compression": "filters.score.compression:CompressionAlignment",
        "expected_utility": "filters.score.expected_utility:ExpectedUtility",
        "group_mean": "filters.score.group_mean:GroupMean",
        "influence": "trainer.influence:InfluenceScore",
        "judge": "filters.score.judge:RubricJudge",
        "judge_pair": "filters.score.judge_pair:JudgePair",
        "language": "filters.score.language:Language",
        "learned": "filters.score.learned:LearnedScore",
        "likelihood": "filters.score.likelihood:Likelihood",
        "meta_ranking": "filters.score.meta_ranking:MetaRanking",
        "neighbor_distance": "filters.score.neighbor_distance:NeighborDistance",
        "personal_data": "filters.score.personal_data:PersonalData",
        "qdc": "filters.score.qdc:QualityDiversityComplexity",
        "quality": "filters.score.quality:Quality",
        "quoted": "filters.score.quoted:QuotedShare",
        "refusal": "filters.score.refusal:Refusal",
        "reward": "filters.score.reward:Reward",
        "secrets": "filters.score.secrets:Secrets",
        "tokens": "filters.score.tokens:Tokens",
    },
    "mask": {
        "failed_calls": "filters.mask_calls:MaskFailedCalls",
    },
    "dedup": {
        "exact": "filters.dedup.exact:ExactDedup",
        "id": "filters.dedup.same_id:SameId",
        "minhash": "filters.dedup.minhash:MinHashDedup",
        "prefix": "filters.dedup.prefix:PrefixDedup",
        "rouge": "filters.dedup.rouge:RougeDedup",
        "semantic": "filters.dedup.semantic:SemanticDedup",
        "substring": "filters.dedup.substring:SubstringDedup",
    },
    "pair": {
        "preferences": "filters.pair.preferences:PreferencePairs",
        "twins": "datagen.edits.twins:Twins",
    },
    "select": {
        "agreement": "datagen.execution.agreement:Agreement",
        "best": "filters.select.best:SelectBest",
        "best_group": "filters.select.best_group:SelectBestGroup",
        "cluster_quota": "filters.select.cluster_quota:ClusterQuota",
        "consistent": "filters.select.consistent:SelectConsistent",
        "longest": "filters.select.longest:SelectLongest",
        "nearest": "filters.select.nearest:SelectNearest",
        "part": "filters.select.part:SelectPart",
        "random": "filters.select.random:RandomSelect",
        "transport": "filters.select.transport:SelectTransport",
        "vote": "filters.select.vote:Vote",
    },
    "train": {
        "sft": "trainer.methods.sft:SupervisedFineTuning",
        "text": "trainer.methods.text:ContinuedPretraining",
        "cft": "trainer.methods.cft:CritiqueFineTuning",
        "dpo": "trainer.methods.dpo:DirectPreferenceOptimization",
        "kto": "trainer.methods.kto:KahnemanTverskyOptimization",
        "grpo": "trainer.methods.grpo:GroupRelativePolicyOptimization",
        "reward": "trainer.methods.reward:RewardModelling",
        "orpo": "trainer.methods.orpo:OddsRatioPreferenceOptimization",
        "simpo": "trainer.methods.simpo:SimplePreferenceOptimization",
        "distill": "trainer.methods.distill:Distillation",
        "weak_to_strong": "trainer.methods.weak_to_strong:WeakToStrong",
        "asft": "trainer.methods.asft:AlignedSupervisedFineTuning",
        "mft": "trainer.methods.mft:MaskedThoughtFineTuning",
        "implicit_reward": "trainer.methods.implicit_reward:ImplicitRewardFineTuning",
        "multitask": "trainer.methods.multitask:MultitaskFineTuning",
    },
    "unfold": {
        "tool_turns": "filters.tool_turns:ToolTurns",
    },
    "merge": {
        "greedy_soup": "trainer.merging.greedy_soup:GreedySoup",
        "cycle_qd": "trainer.merging.cycle_qd:CycleQD",
    },
    "evaluate": {
        "answers": "datagen.evaluate.answers:EvaluateAnswers",
        "constraints": "datagen.evaluate.constraints:EvaluateConstraints",
        "likelihood": "datagen.evaluate.likelihood:EvaluateLikelihood",
        "recovered_gap": "datagen.evaluate.recovered_gap:RecoveredGap",
    },
    "export": {
        "parquet": "pipelines.sinks:ParquetExport",
        "arrow": "pipelines.sinks:ArrowExport",
        "jsonl": "pipelines.sinks:JsonlExport",
        "hub": "pipelines.sinks:HubExport",
    },
}

#: verb -> "module:Class" for verbs whose value is a parameter. A verb may have named operators too.
VALUED: dict[str, str] = {
    "chunk": "datagen.documents.chunk:Chunk",
    "draw": "datagen.generate.draw:Draw",
    "execute": "datagen.execution.execute:Execute",
    "map": "pipelines.user_code:UserMap",
    "render": "datagen.generate.render:Render",
    "compute": "filters.expressions.compute:Compute",
    "score": "filters.score.score:Score",
    "cluster": "filters.cluster.cluster:Cluster",
    "unfold": "filters.unfold:Unfold",
    "unify": "filters.unify:Unify",
    "calibrate": "filters.calibrate.calibrate:Calibrate",
    "keep": "filters.expressions.keep:Keep",
    "decontaminate": "filters.dedup.decontaminate:Decontaminate",
    "merge": "trainer.merging.merge_step:MergeStep",
}

#: verb -> "module:Class" for a user's own function (`source: my_module:function`).
USER_FUNCTION: dict[str, str] = {"source": "pipelines.user_code:UserSource"}

#: "module:function" that counts the evaluation items that training rows contain: (training rows, items,
#: columns that the training names, columns that the evaluation asks about) -> number of items, or None if the
#: tables cannot be compared. The runner asks it before a promotion.
CONTAMINATED_ITEMS = "filters.dedup.promotion:contaminated_items"


def contaminated_items() -> Callable[..., int | None]:
    """The function that :data:`CONTAMINATED_ITEMS` names."""
    module, _, name = CONTAMINATED_ITEMS.partition(":")
    found: Callable[..., int | None] = getattr(importlib.import_module(f"..{module}", __package__), name)
    return found


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
    """The named operators of a verb; empty if it has none but its value."""
    return sorted({*NAMED.get(verb, {}), *added().get(verb, {})})


def _is_named(verb: str, value: object) -> bool:
    """Whether the value is the name of an operator, also of a verb that takes other values
    (``score: language``)."""
    return isinstance(value, str) and (value in NAMED.get(verb, {}) or value in added().get(verb, {}))


def declared(verb: str, value: object) -> type[Operator] | None:
    """Like :func:`find`, but without loading a user's function; used to list the parameters of a step."""
    return load(VALUED[verb]) if verb in VALUED and not _is_named(verb, value) else find(verb, value)


def find(verb: str, value: object) -> type[Operator] | None:
    """The operator class of a step with ``verb: value``, or None if there is none."""
    if verb in VALUED and not _is_named(verb, value):
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
