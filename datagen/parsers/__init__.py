"""Parsers from generated text to typed columns, or to the reason why not. They never raise on any text."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from .blocks import BlocksParser
from .code import CodeParser
from .json_object import JsonParser
from .labels import LabelsParser
from .number import NumberParser
from .numbered import NumberedListParser
from .parser import Parsed, Parser, Unparsed
from .regex import RegexParser
from .tags import TagsParser
from .tested_code import TestedCodeParser
from .text import TextParser

AnyParser = Annotated[
    TextParser
    | JsonParser
    | CodeParser
    | BlocksParser
    | TestedCodeParser
    | NumberParser
    | NumberedListParser
    | TagsParser
    | LabelsParser
    | RegexParser,
    Field(discriminator="kind"),
]

__all__ = [
    "AnyParser",
    "BlocksParser",
    "CodeParser",
    "JsonParser",
    "LabelsParser",
    "NumberParser",
    "NumberedListParser",
    "Parsed",
    "Parser",
    "RegexParser",
    "TagsParser",
    "TestedCodeParser",
    "TextParser",
    "Unparsed",
]
